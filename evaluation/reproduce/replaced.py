"""What Tables 7 and 8 share: SearchSage, replaced by OmniSearchSage stage by stage, before the same
simulated users (§5.2, §5.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.reproduce.base import base_workspace
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.runs import MEASURED, keep, kept, key_of
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.stack import Embedding
from omnisearch.evaluation.reproduce.studies import trained
from omnisearch.evaluation.reproduce.worlds import truth_of
from omnisearch.world.population import DAY, END
from omnisearch.world.sessions import draw_queries
from omnisearch.world.truth import Truth

OLD, NEW = "SearchSage", "OmniSearchSage"
CONTROL, ALL = "control", "all three"
# As in Table 2: a query tower against PinSage and ItemSage alone.
TRAIN = {OLD: {"weight_learned": 0.0, "mix_query": 0.0, "mix_pseudo": 0.0}, NEW: {}}
MEAN_SEARCHES = 4  # of a user

Values = dict[str, dict[str, np.ndarray]]  # stack → measure → (searches,)
Measure = Callable[[SearchEngine, dict[str, Embedding]], Values]


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


def users_truth(study: Study, options: Reproduce) -> Truth:
    """What is true of the sample world whose users search.

    Raises:
        InputError: a workspace was given, which has no simulated users.
    """
    if options.source is not None:
        raise InputError(
            "Only the sample world has simulated users.",
            where=str(options.source.root),
            how="Try two systems on your own users: `omnisearch experiment`.",
        )
    truth = truth_of(base_workspace(options.folder, None, study.pins))
    assert truth is not None
    return truth


def values_of_seeds(
    name: str, study: Study, options: Reproduce, on_run: OnRun | None, measure: Measure
) -> list[Values]:
    """What a table measures with the models of each seed; what is measured is kept."""
    found = []
    for seed in range(options.seeds):
        key = key_of([MEASURED, name, asdict(study), options.steps, seed])
        place = options.folder / "runs" / key
        if not place.exists():
            engine, embeddings = embeddings_of(study, options, seed, on_run)
            keep(place, _flat(measure(engine, embeddings)), {name: asdict(study)})
            engine.close()
        found.append(_deep(kept(place)))
    return found


def over_trainings(gains: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of gains (seeds,), by their spread (Student's t); NaN of one."""
    if len(gains) < 2:
        return float("nan"), float("nan")
    mean, error = float(gains.mean()), float(stats.sem(gains))
    away = float(stats.t.ppf(0.975, len(gains) - 1)) * error
    return mean - away, mean + away


def interval_text(low: float, high: float) -> str:
    """An interval of gains as tables show it."""
    return f"{low:+.1%} to {high:+.1%}" if low == low else "–"


def _flat(values: Values) -> dict[str, np.ndarray]:
    """The values side by side, to be kept in one file."""
    return {
        f"{name}:{measure}": each for name, of in values.items() for measure, each in of.items()
    }


def _deep(stored: dict[str, np.ndarray]) -> Values:
    """The values that `_flat` laid side by side."""
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
