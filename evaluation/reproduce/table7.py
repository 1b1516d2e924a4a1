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
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.config import preset_config
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.experiments.definition import SIGNIFICANT
from omnisearch.evaluation.experiments.several import corrected
from omnisearch.evaluation.reproduce.base import base_workspace
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.runs import MEASURED, keep, kept, key_of
from omnisearch.evaluation.reproduce.sample import Sample
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.stack import Embedding, Stack, Stacks
from omnisearch.evaluation.reproduce.studies import Made, trained, written
from omnisearch.evaluation.reproduce.table_report import CONFIRMED, CONTRADICTED, OPEN
from omnisearch.evaluation.reproduce.worlds import truth_of
from omnisearch.world.population import DAY, END
from omnisearch.world.sessions import acts, draw_queries
from omnisearch.world.truth import Truth

OLD, NEW = "SearchSage", "OmniSearchSage"
CONTROL, ALL = "control", "all three"
STACKS = {
    CONTROL: Stack(OLD, OLD, OLD),
    "retrieval": Stack(NEW, OLD, OLD),
    "L1": Stack(OLD, NEW, OLD),
    "L2 and relevance": Stack(OLD, OLD, NEW),
    ALL: Stack(NEW, NEW, NEW),
}
# As in Table 2: a query tower against PinSage and ItemSage alone.
TRAIN = {OLD: {"weight_learned": 0.0, "mix_query": 0.0, "mix_pseudo": 0.0}, NEW: {}}
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
MEAN_SEARCHES = 4  # of a user
_SIGNIFICANT = [ACTIONS.index(action) for action in SIGNIFICANT]

Values = dict[str, dict[str, np.ndarray]]  # stack → measure → (searches,)


@dataclass(frozen=True)
class Searches:
    """What users ask: (s,) times ascending, users' numbers, and numbers of the world's queries."""

    time: np.ndarray
    user: np.ndarray
    query: np.ndarray

    @classmethod
    def drawn(cls, truth: Truth, count: int) -> Searches:
        """In the fortnight after the log, by the world's own distribution of queries."""
        rng = np.random.default_rng(0)
        time = np.sort(rng.integers(END, END + 14 * DAY, count))
        user = rng.integers(0, max(1, count // MEAN_SEARCHES), count)
        return cls(time, user, draw_queries(truth.queries, time, rng))


@dataclass(frozen=True)
class Change:
    """What a replacement changes.

    Attributes:
        gain: relative to the control; low, high: its 95% interval, over users.
        seeds: the gain with each seed. p: two-sided, corrected.
        verdict: whether it rises, as in `table_report.Verdict`.
    """

    replaced: str
    measure: str
    gain: float
    low: float
    high: float
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
    if options.source is not None:
        raise InputError(
            "Only the sample world has simulated users.",
            where=str(options.source.root),
            how="Try two systems on your own users: `omnisearch experiment`.",
        )
    base = base_workspace(options.folder, None, study.pins)
    truth = truth_of(base)
    assert truth is not None
    searches = Searches.drawn(truth, study.searches)
    found = []
    for seed in range(options.seeds):
        key = key_of([MEASURED, "table7", asdict(study), options.steps, seed])
        place = options.folder / "runs" / key
        if not place.exists():
            engine, embeddings = embeddings_of(study, options, seed, on_run)
            stacks = Stacks(engine, embeddings, OLD)
            keep(place, flat(values_of(truth, searches, stacks)), {"table7": asdict(study)})
        found.append(deep(kept(place)))
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


def flat(values: Values) -> dict[str, np.ndarray]:
    """The values side by side, to be kept in one file."""
    return {
        f"{name}:{measure}": each for name, of in values.items() for measure, each in of.items()
    }


def deep(stored: dict[str, np.ndarray]) -> Values:
    """The values that `flat` laid side by side."""
    values: Values = {}
    for key, each in stored.items():
        name, measure = key.split(":")
        values.setdefault(name, {})[measure] = each
    return values


def embeddings_of(
    study: Study, options: Reproduce, seed: int, on_run: OnRun | None
) -> tuple[SearchEngine, dict[str, Embedding]]:
    """Both models of a seed, trained if need be, and an engine over the index of the new one."""
    base = base_workspace(options.folder, None, study.pins)
    total = 2 * options.seeds
    embeddings = {}
    for number, name in enumerate((NEW, OLD)):
        on_step = on_run(2 * seed + number + 1, total, f"{name}, seed {seed}") if on_run else None
        workspace = trained(
            base, study, options, seed, on_step, index=name == NEW, train=TRAIN[name]
        )
        if name == NEW:
            engine = SearchEngine.open(workspace, with_rankers=False, with_rules=False)
        encoder = load_encoder(workspace)
        embeddings[name] = Embedding(workspace, encoder, engine.snapshot.generation)
    return engine, embeddings


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
        verdict = OPEN
        if p < 0.05 and (np.all(seeds > 0) or np.all(seeds < 0)):
            verdict = CONFIRMED if seeds[0] > 0 else CONTRADICTED
        made.append(
            Change(
                *(name, measure, float(seeds.mean() / usual), low / usual, high / usual),
                *((seeds / level[key]).tolist(), p, key in DECIDING, verdict),
                PAPER[name][measure],
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
    lines += ["| replaced in | measure | gain | 95% interval | each seed | p | paper's | |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    for each in made:
        seeds = ", ".join(f"{gain:+.1%}" for gain in each.seeds)
        p = "<0.001" if each.p < 0.001 else f"{each.p:.3f}"
        said = f"**{each.verdict}**" if each.decides else f"({each.verdict})"
        interval = f"{each.low:+.1%} to {each.high:+.1%}"
        row = (each.replaced, each.measure, f"{each.gain:+.1%}", interval, seeds, p)
        lines.append(f"| {' | '.join(row)} | {each.paper:+.1%} | {said} |")
    lines += [
        "",
        f"With SearchSage in all stages {levels[FULFILMENT]:.1%} of the searches are fulfilled: "
        f"they end in {' or '.join(SIGNIFICANT).replace('_', ' ')}. The mean true relevance "
        f"of their first {JUDGED} results is {levels[RELEVANCE]:.3f}. Pages of what users most "
        f"likely engage with reach {best[FULFILMENT]:.1%} and {best[RELEVANCE]:.3f}.",
        "",
        "Gains are relative to that. All users make the same searches with every stack; intervals "
        "are over users, of the mean over the seeds. p is corrected by Holm over the three "
        "replacements' fulfilment, which decide; the verdicts in brackets do not. Confirmed: it "
        "rises, p is below 0.05 and every seed agrees.",
    ]
    return "\n".join(lines) + "\n"
