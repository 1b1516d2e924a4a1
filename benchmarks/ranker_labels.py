"""Ways to learn rankers from what was shown and judged, by the truth of a sample world.

    python benchmarks/ranker_labels.py --workspace demo [--seeds 0 1 2]

Trains on what `omnisearch rank train` collects. Each model then orders all candidates of the
queries of the evaluation window, which it has not seen; true nDCG@10 and fulfilment@8 are the means
over queries, and over seeds of what is collected, ± the half-width of a 95% interval of the
difference from L1, paired by query. Engagement labels are corrected for position in all of them;
first it prints how probable each place is to be looked at, by the log and by the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.splits import known_until, ranker_window, time_split
from omnisearch.data.workspace import Workspace
from omnisearch.engine.candidates import best_first
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.examined import examined_until
from omnisearch.engine.index import Items
from omnisearch.engine.ranking import add_cosines, features
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.retrieval import retrieve_whole
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.sources import SOURCES
from omnisearch.evaluation.evaluate import held_out_gains
from omnisearch.evaluation.truth import true_values
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists
from omnisearch.ranker.network import Network, NetworkOptions
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import RankerConfig
from omnisearch.world.sessions import EXAMINATION
from omnisearch.world.truth import Truth

Score = Callable[[np.ndarray], np.ndarray]
CLIP = 0.1  # the lowest propensity
SHOWN = 20  # results of a ranking that are measured
PLACES = 10  # of the world's longest page


def linear(lists: Lists) -> Score:
    prior = RankerConfig().l1_prior / len(lists.sizes)
    return Linear.fit([lists], feature_names(), prior, starter()).score


def network(lists: Lists) -> Score:
    return Network.fit(lists, NetworkOptions()).score


def models(data: RankingData) -> dict[str, Score]:
    """Name → a way to score candidates."""
    logged, shown = informative_lists(data, "engagement"), _labelled(data, "engagement")
    graded, judged = informative_lists(data, "relevance"), _labelled(data, "relevance")
    prior = RankerConfig().l1_prior / (len(logged.sizes) + len(graded.sizes))
    heads = (Head.fit(logged, None, NetworkOptions()), Head.fit(graded, judged, NetworkOptions()))
    return {
        "L1": Linear.fit([logged, graded], l1_names(), prior, starter()).score,
        "engagement, linear": linear(logged),
        "engagement, network": network(logged),
        "engagement, never shown weighs 1": linear(replace(logged, weights=np.ones_like(logged.y))),
        "engagement, network of the shown alone": network(shown),
        "engagement, inverse propensity": linear(informative_lists(propensity(data), "engagement")),
        "engagement, doubly robust": linear(informative_lists(robust(data), "engagement")),
        "relevance, linear": linear(graded),
        "relevance, network": network(graded),
        "relevance, network of the judged alone": network(judged),
        "relevance head": heads[1].score,
        "L2": L2(*heads).score,
    }


def _labelled(data: RankingData, label: str) -> Lists:
    return informative_lists(data, label, labelled=True)


def shown_chance(data: RankingData) -> np.ndarray:
    """(n,) the probability that a candidate is shown, from its features: a logistic regression."""
    X = np.nan_to_num((data.X - np.nanmean(data.X, axis=0)) / (np.nanstd(data.X, axis=0) + 1e-6))
    X = np.concatenate([X, ~np.isnan(data.X), np.ones((len(X), 1))], axis=1)
    logged = ~np.isnan(data.engagement)
    rows, y = X[logged].astype(np.float64), data.shown[logged].astype(np.float64)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        logits = rows @ w
        value = np.mean(np.logaddexp(0, logits) - y * logits) + 1e-3 * w @ w
        return float(value), rows.T @ (expit(logits) - y) / len(y) + 2e-3 * w

    found = minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x
    return np.maximum(expit(X @ found), CLIP)


def propensity(data: RankingData) -> RankingData:
    """Gains divided by the clipped propensity to be shown."""
    return replace(data, engagement=(data.engagement / shown_chance(data)).astype(np.float32))


def robust(data: RankingData) -> RankingData:
    """Gains as a regression on the shown predicts them, corrected where an item was shown."""
    X = np.nan_to_num(data.X, nan=0.0)
    X = np.concatenate([X, np.ones((len(X), 1), np.float32)], axis=1)
    known = data.shown & ~np.isnan(data.engagement)
    weights = np.linalg.lstsq(X[known], data.engagement[known], rcond=None)[0]
    guess = np.clip(X @ weights, 0, float(np.nanmax(data.engagement)))
    gains = guess + data.shown * (data.engagement - guess) / shown_chance(data)
    ones = np.ones(len(gains), np.float32)
    return replace(data, engagement=np.maximum(gains, 0).astype(np.float32), weights=ones)


def candidates_of(engine: SearchEngine, queries: list[str]) -> list[tuple[Items, np.ndarray]]:
    """The candidates of each query and their features."""
    snapshot, found = engine.snapshot, []
    asked = [snapshot.query(query) for query in queries]
    vectors = engine.cache.vectors(snapshot.encoder, [query.text for query in asked])
    for query, vector in zip(asked, vectors, strict=True):
        read = query.with_vector(vector)
        sources = list(SOURCES.values())
        items = retrieve_whole(snapshot, read, sources, EngineConfig())
        add_cosines(snapshot, items, read)
        found.append((items, features(snapshot, items, read)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    engine, db = SearchEngine.open(workspace), open_catalogue(workspace.catalogue)
    truth = Truth.read(workspace.truth)
    queries = sorted(query for query in held_out_gains(db) if query in truth.query_of)
    known = known_until(engine.snapshot.generation.manifest)
    window = ranker_window(time_split(db), known, RankingOptions().window_days)
    looked = examined_until(db, window[1])[:PLACES]
    for name, chances in (("log", looked), ("truth", np.arange(1, PLACES + 1) ** -EXAMINATION)):
        print(f"places looked at, by the {name}: " + ", ".join(f"{each:.3f}" for each in chances))
    found = candidates_of(engine, queries)
    values: list[np.ndarray] = []
    for seed in options.seeds:
        made = models(collect(engine, db, RankingOptions(seed=seed)))
        rankings = {name: ordered(engine, queries, found, score) for name, score in made.items()}
        measured, ceiling = true_values(truth, rankings, queries)
        values.append(np.array([list(columns.values()) for columns in measured.values()]))
    means = np.mean(values, axis=0)  # (models, measures, queries)
    less = means - means[0]
    half = 1.96 * less.std(axis=-1) / len(queries) ** 0.5
    print(
        f"{len(queries)} queries, {len(options.seeds)} seeds; the ceiling of all orders: ", end=""
    )
    print(", ".join(f"{name} {column.mean():.4f}" for name, column in ceiling.items()))
    print(f"{'':40}{'nDCG@10':>9}{'less L1':>20}{'fulfilment@8':>14}{'less L1':>20}")
    for at, name in enumerate(made):
        (ndcg, more, error), (ful, gained, wide) = zip(
            means[at].mean(axis=-1), less[at].mean(axis=-1), half[at], strict=True
        )
        print(
            f"{name:40}{ndcg:9.4f}{f'{more:+.4f} ± {error:.4f}':>20}"
            f"{ful:14.4f}{f'{gained:+.4f} ± {wide:.4f}':>20}"
        )
    engine.close()


def ordered(
    engine: SearchEngine,
    queries: list[str],
    found: list[tuple[Items, np.ndarray]],
    score: Score,
) -> dict[str, list[tuple[str, str]]]:
    """query → the first items (entity, id) by a model's score."""
    tables, rankings = engine.snapshot.generation.tables, {}
    for query, (items, X) in zip(queries, found, strict=True):
        order = best_first(score(X))[:SHOWN]
        pairs = zip(items.entity[order].tolist(), items.row[order].tolist(), strict=True)
        first = [(ITEM_ENTITIES[code], row) for code, row in pairs]
        rankings[query] = [(entity, tables[entity].ids[row]) for entity, row in first]
    return rankings


if __name__ == "__main__":
    main()
