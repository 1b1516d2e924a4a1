"""Table 7: SearchSage replaced by OmniSearchSage in retrieval, in L1 and in L2, before simulated
users (§5.2).

Two models are trained for each seed, and rankers with the query-item cosine of each. The users of
the sample world then search with every stack: they wish what is true of the items, and the stacks
are made of copies of the data that have no truth. Every user makes the same searches with every
stack and draws the same chances, so that a difference is one of the pages alone; users of a real
experiment see one variant each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.encoders.config import preset_config
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.experiments.definition import SIGNIFICANT
from omnisearch.evaluation.experiments.several import corrected
from omnisearch.evaluation.reproduce.replaced import (
    ALL,
    CONTROL,
    NEW,
    OLD,
    Searches,
    Values,
    interval_text,
    over_trainings,
    users_truth,
    values_of_seeds,
)
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.sample import Sample
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.stack import Embedding, Stack, Stacks
from omnisearch.evaluation.reproduce.studies import Made, written
from omnisearch.evaluation.reproduce.table_report import judgment, verdict_of
from omnisearch.world.sessions import acts
from omnisearch.world.truth import Truth

STACKS = {
    CONTROL: Stack(OLD, OLD, OLD),
    "retrieval": Stack(NEW, OLD, OLD),
    "L1": Stack(OLD, NEW, OLD),
    "L2 and relevance": Stack(OLD, OLD, NEW),
    ALL: Stack(NEW, NEW, NEW),
}
FULFILMENT, RELEVANCE = "fulfilment", "relevance"
# Table 7, and what §6 sums up for all replacements.
PAPER = {
    "retrieval": {FULFILMENT: 0.041, RELEVANCE: 0.005},
    "L1": {FULFILMENT: 0.005, RELEVANCE: 0.0},
    "L2 and relevance": {FULFILMENT: 0.028, RELEVANCE: 0.030},
    ALL: {FULFILMENT: 0.074, RELEVANCE: 0.035},
}
DECIDING = [f"{name} {FULFILMENT}" for name in ("retrieval", "L1", "L2 and relevance")]
SHOWN, JUDGED = 10, 8  # results of a page, and those whose relevance counts (§5.2)
_SIGNIFICANT = [ACTIONS.index(action) for action in SIGNIFICANT]


@dataclass(frozen=True)
class Change:
    """What a replacement changes.

    Attributes:
        gain: relative to the control; low, high: its 95% interval, over users.
        trainings: its 95% interval, over trainings.
        seeds: the gain with each seed. p: over users, two-sided, corrected.
        verdict: whether it rises, as in `table_report.Verdict`.
    """

    replaced: str
    measure: str
    gain: float
    low: float
    high: float
    trainings: tuple[float, float]
    seeds: list[float]
    p: float
    decides: bool
    verdict: str
    paper: float


def reproduce_table7(study: Study, options: Reproduce, on_run: OnRun | None = None) -> Made:
    """Train, let the users search, and write `table7.md` and `table7.json` into the folder.

    Raises:
        InputError: a workspace was given, which has no simulated users.
    """
    truth = users_truth(study, options)
    searches = Searches.drawn(truth, study.searches)

    def measure(engine: SearchEngine, embeddings: dict[str, Embedding]) -> Values:
        return values_of(truth, searches, Stacks(engine, embeddings, OLD))

    found = values_of_seeds("table7", study, options, on_run, measure)
    made = changes(found, searches.user)
    config = preset_config(study.preset, **options.changes(study.train))
    about = (
        f"Synthetic data: a sample world of {study.pins:,} pins and its simulated users, "
        f"{len(searches.time):,} searches; seeds: {options.seeds}; {config.steps} steps of "
        f"{config.batch_pairs} pairs."
    )
    levels = {
        measure: float(np.mean([each[CONTROL][measure] for each in found]))
        for measure in (FULFILMENT, RELEVANCE)
    }
    best = ceiling(truth, searches)
    text = markdown(study.title, about, levels, best, made)
    rows = [asdict(each) for each in made]
    values = {"about": about, "control": levels, "ceiling": best, "changes": rows}
    return written(options.folder, "table7", text, values)


def values_of(truth: Truth, searches: Searches, stacks: Stacks) -> Values:
    """What every search brings with every stack: fulfilled or not, and mean true relevance."""
    asked, line = np.unique(searches.query, return_inverse=True)
    pages = {name: np.full((len(asked), SHOWN), -1) for name in STACKS}
    for place, query in enumerate(asked.tolist()):
        shown = stacks.pages(truth.queries.text[query], STACKS, SHOWN)
        for name, keys in shown.items():
            pages[name][place, : len(keys)] = [truth.item_of[key] for key in keys]
    return {name: acted(truth, searches, page[line]) for name, page in pages.items()}


def acted(truth: Truth, searches: Searches, page: np.ndarray) -> dict[str, np.ndarray]:
    """Measure → (s,), of pages (s, SHOWN) of item rows, -1 for none.

    A search is fulfilled by an action of significance. The draws are the same for all pages that
    are full.
    """
    true = np.where(page >= 0, truth.relevance(searches.query[:, None], page), 0.0)
    number = np.arange(len(page))
    session = (searches.time, number, searches.query)
    fulfilled = np.zeros(len(page))
    rng = np.random.default_rng(1)
    for part in acts(truth.items, truth.queries, page, true, session, rng):
        _, who, _, _, _, action, _, offsite = part
        fulfilled[who[np.isin(action, _SIGNIFICANT) & ~offsite]] = 1.0
    return {FULFILMENT: fulfilled, RELEVANCE: true[:, :JUDGED].mean(axis=1)}


def ceiling(truth: Truth, searches: Searches) -> dict[str, float]:
    """The means of the measures if every page shows what users most likely engage with."""
    asked, line = np.unique(searches.query, return_inverse=True)
    best = [np.argsort(-truth.chances(query), kind="stable")[:SHOWN] for query in asked.tolist()]
    found = acted(truth, searches, np.array(best)[line])
    return {measure: float(values.mean()) for measure, values in found.items()}


def changes(found: list[Values], user: np.ndarray) -> list[Change]:
    """Every replacement beside the control, of the values of each seed."""
    sample = Sample([user.tolist()])
    tests = [(name, measure) for name in PAPER for measure in (FULFILMENT, RELEVANCE)]
    more, level = {}, {}
    for name, measure in tests:
        key = f"{name} {measure}"
        more[key] = np.stack([of[name][measure] - of[CONTROL][measure] for of in found])
        level[key] = np.array([of[CONTROL][measure].mean() for of in found])
    p_values = {key: sample.p_value([each.mean(axis=0)]) for key, each in more.items()}
    made = []
    for (name, measure), (key, p) in zip(tests, corrected(p_values, DECIDING).items(), strict=True):
        low, high = sample.interval([more[key].mean(axis=0)])
        seeds, usual = more[key].mean(axis=1), level[key].mean()
        made.append(
            Change(
                *(name, measure, float(seeds.mean() / usual), low / usual, high / usual),
                *(over_trainings(seeds / level[key]), (seeds / level[key]).tolist(), p),
                *(key in DECIDING, verdict_of(p, seeds), PAPER[name][measure]),
            )
        )
    return made


def markdown(
    title: str,
    about: str,
    levels: dict[str, float],
    best: dict[str, float],
    made: list[Change],
) -> str:
    """The table as Markdown."""
    lines = [f"# {title}", "", about, ""]
    heads = ["replaced in", "measure", "gain", "95% over users", "over trainings", "each seed", "p"]
    lines += [f"| {' | '.join(heads)} | paper's | |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for each in made:
        seeds = ", ".join(f"{gain:+.1%}" for gain in each.seeds)
        p, said = judgment(each.p, each.verdict, each.decides)
        intervals = interval_text(each.low, each.high), interval_text(*each.trainings)
        row = (each.replaced, each.measure, f"{each.gain:+.1%}", *intervals, seeds, p)
        lines.append(f"| {' | '.join(row)} | {each.paper:+.1%} | {said} |")
    lines += [
        "",
        f"With SearchSage in all stages {levels[FULFILMENT]:.1%} of the searches are fulfilled: "
        f"they end in {' or '.join(SIGNIFICANT).replace('_', ' ')}. The mean true relevance "
        f"of their first {JUDGED} results is {levels[RELEVANCE]:.3f}. Pages of what users most "
        f"likely engage with reach {best[FULFILMENT]:.1%} and {best[RELEVANCE]:.3f}.",
        "",
        "Gains are relative to that. All users make the same searches with every stack; one "
        "interval of the mean over the seeds is by the spread of users, the other by that of the "
        "seeds. p is over users, corrected by Holm over the three replacements' fulfilment, which "
        "decide; the verdicts in brackets do not. Confirmed: it rises, p is below 0.05 and every "
        "seed agrees.",
    ]
    return "\n".join(lines) + "\n"
