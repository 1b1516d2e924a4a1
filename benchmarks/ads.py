"""What ads add to a search, whether their rates are right, and whether they are relevant.

    python benchmarks/ads.py [--workspace demo] [--searches 500] [--rounds 4] [--seed 0]

The workspace is a sample world with campaigns and their models (`omnisearch ads train`). Queries
are drawn as often as people ask them. Prints

- p50 and p99 of the processor milliseconds of a search for the first 20 results with a cached
  query, with ads and without, in turns, and the median of the differences;
- what the engagement model predicts beside what happened in the last week of the log, which no
  model has learned from, by tenths of the impressions, and the expected calibration error;
- of the ads among the first ten results, the share that is relevant by the world's truth (grade 2
  or 3 of 3), with the gate, without it and without models, and what they are worth to an
  advertiser: bid times the true chance of engagement, ordered by bid times rate and by bid alone.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import evaluation_window, time_split
from omnisearch.engine.ad_training import measured_on, observed, shown_of_log
from omnisearch.engine.ranking_data import RankingOptions
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.searcher import Searcher
from omnisearch.world.lexicon import LANGUAGES
from omnisearch.world.sessions import draw_queries
from omnisearch.world.templates import COUNTRIES
from omnisearch.world.truth import Truth

FIRST = 10  # results that are looked at
RELEVANT = 2  # true grade


def cost(engine: SearchEngine, queries: list[str], rounds: int) -> None:
    """Search with ads and without, in turns."""
    sides = {
        name: Searcher(engine.snapshot, engine.cache, replace(engine.config, campaigns=wanted))
        for name, wanted in (("without", False), ("with ads", True))
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    shown = 0
    for number in range(rounds + 1):
        for query in queries:
            for name, searcher in list(sides.items())[:: 1 if number % 2 else -1]:
                start = time.process_time()  # another program's work counts for neither
                found = searcher.search(query, k=20)
                took = (time.process_time() - start) * 1000
                if number:  # the first round warms up
                    times[name].append(took)
                shown += any(hit.campaign for hit in found.hits) and name == "with ads"
    for name, took in times.items():
        p50, p99 = np.percentile(took, (50, 99))
        print(f"{name:9} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")
    shape = (rounds, len(queries))
    without, with_ads = (np.reshape(each, shape).mean(0) for each in times.values())
    of_p50 = np.median(times["with ads"]) - np.median(times["without"])
    print(
        f"added: {of_p50:.3f} ms to the p50; median difference of a query "
        f"{np.median(with_ads - without):.3f} ms, mean {(with_ads - without).mean():.3f} ms; "
        f"{shown / (rounds + 1) / len(queries):.0%} of the searches show an ad"
    )


def calibration(engine: SearchEngine, options: RankingOptions) -> None:
    """The engagement model on the days that are kept back to measure by."""
    models = engine.snapshot.ad_models
    if models is None or models.engagement is None:
        return print("There is no engagement model.")
    db = open_catalogue(engine.workspace.catalogue)
    with closing(db.conn):
        rows, _ = shown_of_log(db, evaluation_window(time_split(db)), set(), options)
    seen = observed(engine, rows, options)
    found = measured_on(models.engagement, seen, np.full(len(seen.trials), True))
    base = seen.successes.sum() / seen.trials.sum()
    print(
        f"\nLast week of the log: {len(rows):,} queries, {seen.trials.sum():,.0f} impressions, "
        f"{base:.2%} with a long click"
    )
    print("tenth  impressions  predicted  observed")
    for number, each in enumerate(found["deciles"], 1):
        predicted, happened = each["predicted"], each["observed"]
        print(f"{number:5}  {each['trials']:11,}  {predicted:9.4f}  {happened:8.4f}")
    print(f"expected calibration error {found['error']:.4f}")


def relevance(engine: SearchEngine, truth: Truth, asked: np.ndarray) -> None:
    """The share of ads that are relevant, and what they are worth."""
    snapshot, models = engine.snapshot, engine.snapshot.ad_models
    untrained = replace(snapshot, ad_models=None)
    by_bid = replace(snapshot, ad_models=models and replace(models, engagement=None))
    bids = {campaign.id: campaign.bid for campaign in snapshot.campaigns}
    print(f"\nAds among the first {FIRST} results:")
    for name, used, least in (
        ("gate, bid x rate", snapshot, engine.config.ad_relevance),
        ("no gate, bid x rate", snapshot, 0.0),
        ("gate, bid alone", by_bid, engine.config.ad_relevance),
        ("no gate, bid alone", by_bid, 0.0),
        ("no models", untrained, 0.0),
    ):
        searcher = Searcher(used, engine.cache, replace(engine.config, ad_relevance=least))
        grades, worth, organic = [], [], []
        for query in asked.tolist():
            text, country = truth.queries.text[query], _country(truth, query)
            hits = searcher.search(text, k=FIRST, user_country=country).hits
            true, chances = truth.grades_of_all(query), truth.chances(query)
            for hit in hits:
                row = truth.item_of[hit.id]
                if hit.campaign in bids:
                    grades.append(true[row])
                    worth.append(bids[hit.campaign] * chances[row])
                else:
                    organic.append(true[row])
        relevant, others = (
            np.mean(np.array(each) >= RELEVANT) if each else np.nan for each in (grades, organic)
        )
        print(
            f"{name:20} {len(grades) / len(asked):5.2f} ads a search, {relevant:6.1%} relevant "
            f"(other results {others:.1%}); worth {np.sum(worth) / len(asked):.3f} a search"
        )


def _country(truth: Truth, query: int) -> str:
    return COUNTRIES[LANGUAGES[truth.queries.language[query]]][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--searches", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    engine = SearchEngine.open(options.workspace)
    truth, rng = Truth.read(engine.workspace.truth), np.random.default_rng(options.seed)
    recent = np.full(options.searches, int(time.time()))
    asked = draw_queries(truth.queries, recent, rng)
    queries = [truth.queries.text[row] for row in asked]
    engine.warm(queries)
    ads = engine.snapshot.ads_of_items
    running = ads and ads.running(time.time(), None, None)
    items = sum(len(engine.snapshot.generation.tables[name]) for name in ("pin", "product"))
    print(
        f"{items:,} items, {len(engine.snapshot.campaigns)} campaigns; "
        f"{len(running.items) if running else 0:,} items are advertised everywhere now; "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    cost(engine, queries, options.rounds)
    calibration(engine, RankingOptions())
    relevance(engine, truth, asked)


if __name__ == "__main__":
    main()
