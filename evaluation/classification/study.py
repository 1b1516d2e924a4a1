"""Interest classification as in §5.4: frozen query embeddings against fastText, level by level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from omnisearch.data.workspace.errors import InputError, install_extra
from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.classification import classifier, fasttext_baseline
from omnisearch.evaluation.classification.classifier import Examples, Settings
from omnisearch.evaluation.classification.fasttext_baseline import Texts
from omnisearch.evaluation.classification.labels import Labels
from omnisearch.evaluation.classification.measures import hits_and_recall, in_blocks
from omnisearch.evaluation.significance import bootstrap_interval, compare_paired, holm

Encode = Callable[[Sequence[str]], np.ndarray]
Stage = Callable[[str], None]

MAJORITY, FASTTEXT = "majority", "fasttext"
PAPER_GAIN = 0.30  # §5.4: precision over fastText, relative, the mean over levels
_NAMED = 20  # nodes without a training query that are listed by name


@dataclass(frozen=True)
class LevelResult:
    """One system on one level of the taxonomy, over the test queries with a node in that level.

    Attributes:
        precision: precision@1, averaged over seeds; nodes without training queries count too.
        low, high: 95% bootstrap interval of that mean, over queries.
        of_seeds: precision@1 of each seed.
        recall_at_5: the share of a query's nodes of the level ranked in the top five.
    """

    level: int
    queries: int
    precision: float
    low: float
    high: float
    of_seeds: list[float]
    recall_at_5: float


@dataclass(frozen=True)
class SystemResult:
    """A system with its settings, chosen on the validation split."""

    name: str
    settings: dict[str, Any]
    levels: list[LevelResult]


@dataclass(frozen=True)
class Gain:
    """A system against fastText on one level: precision@1, paired by query.

    Attributes:
        relative: the difference divided by fastText's precision.
        p_holm: p-value of the paired randomisation test, Holm-corrected over systems and levels.
    """

    system: str
    level: int
    difference: float
    low: float
    high: float
    relative: float
    p_holm: float


@dataclass(frozen=True)
class ClassificationReport:
    """All figures of one labels file.

    Attributes:
        queries: split → number of queries.
        nodes: number of nodes in each level.
        coverage: for each level, the share of its test queries with at least one node that has a
            training query: the best precision a classifier could reach.
        unseen: number of nodes without a training query; `unseen_named` lists the first by name.
        gains: empty if fastText is not installed.
    """

    queries: dict[str, int]
    nodes: list[int]
    coverage: list[float]
    unseen: int
    unseen_named: list[str]
    seeds: list[int]
    systems: list[SystemResult]
    gains: list[Gain]
    notes: list[str]

    def mean_gain(self, system: str) -> float | None:
        """The relative gain over fastText averaged over levels, like the paper's 30%."""
        found = [gain.relative for gain in self.gains if gain.system == system]
        return float(np.mean(found)) if found else None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def classification_report(
    labels: Labels,
    encoders: Mapping[str, Encode],
    seeds: Sequence[int] = (0, 1, 2),
    stage: Stage | None = None,
    progress: Progress | None = None,
) -> ClassificationReport:
    """Measure a classifier on each encoder's frozen vectors, fastText and the majority node.

    Settings are chosen on the validation split; figures are for the test split. fastText is
    skipped, with a note, if it is not installed (extra `classify`).

    Args:
        encoders: name → texts to (n, d) unit float32, such as {"query tower": Encoder.queries}.
        stage: called with a description of each stage as it begins.
        progress: counts the settings that are tried or the passes over the queries, from 0 in each
            training.

    Raises:
        InputError: a split has no queries, or an encoder has fastText's name.
    """
    task = _task(labels)
    tell = stage or (lambda _: None)
    found = {MAJORITY: _Measured({}, [task.majority()])}
    if fasttext_baseline.available():
        tell("fastText")
        found[FASTTEXT] = _fasttext(task, seeds, progress)
        notes = []
    else:
        notes = [f"fastText is not installed ({install_extra('classify')}): not compared."]
    for name, encode in encoders.items():
        if name in found:
            raise InputError(f"An encoder cannot be named {name!r}.")
        tell(name)
        found[name] = _classifier(task, encode(labels.queries), seeds, progress)
    return ClassificationReport(
        queries={part: len(rows) for part, rows in task.rows.items()},
        nodes=[level.stop - level.start for level in labels.levels],
        coverage=task.coverage(),
        unseen=len(task.unseen),
        unseen_named=task.unseen[:_NAMED],
        seeds=list(seeds),
        systems=[_system(name, measured) for name, measured in found.items()],
        gains=_gains(found, list(encoders)),
        notes=notes + ([f"{len(labels.refused)} rows were rejected."] if labels.refused else []),
    )


@dataclass(frozen=True)
class _Measured:
    """runs: for each seed, hits at 1 and recall at 5, (test queries, 2, levels) with NaNs."""

    settings: dict[str, Any]
    runs: list[np.ndarray]

    @property
    def hits(self) -> np.ndarray:
        return np.mean([run[:, 0] for run in self.runs], axis=0)


@dataclass(frozen=True)
class _Task:
    labels: Labels
    rows: dict[str, np.ndarray]
    wanted: csr_matrix  # (test queries, m) bool
    trained: np.ndarray  # (m,) number of training queries of each node

    @property
    def unseen(self) -> list[str]:
        return [self.labels.nodes[at] for at in np.flatnonzero(self.trained == 0)]

    def coverage(self) -> list[float]:
        seen = (self.trained > 0).astype(np.int64)
        found = []
        for level in self.labels.levels:
            wanted = self.wanted[:, level]
            some = int(np.count_nonzero(wanted @ seen[level]))
            found.append(some / max(1, int(np.count_nonzero(wanted.getnnz(1)))))
        return found

    def majority(self) -> np.ndarray:
        def scores_of(rows: slice) -> np.ndarray:
            shape = (rows.stop - rows.start, len(self.trained))
            return np.broadcast_to(self.trained.astype(np.float32), shape)

        return in_blocks(hits_and_recall, scores_of, self.wanted, self.labels.levels)

    def texts(self, part: str) -> Texts:
        rows = self.rows[part]
        texts = [self.labels.queries[row] for row in rows]
        return Texts(texts, self.labels.targets[rows], self.labels.levels)

    def examples(self, part: str, vectors: np.ndarray) -> Examples:
        rows = self.rows[part]
        return Examples(vectors[rows], self.labels.targets[rows], self.labels.levels)


def _task(labels: Labels) -> _Task:
    rows = {part: labels.part(part) for part in ("train", "valid", "test")}
    empty = [part for part, members in rows.items() if not len(members)]
    if empty:
        raise InputError(
            f"The {empty[0]!r} split has no queries.",
            how="Give more queries: a hash of the text splits them into 70%, 10% and 20%.",
        )
    wanted = labels.targets[rows["test"]]
    trained = np.asarray(labels.targets[rows["train"]].sum(0)).ravel()
    return _Task(labels, rows, wanted, trained)


def _fasttext(task: _Task, seeds: Sequence[int], progress: Progress | None) -> _Measured:
    train, test = task.texts("train"), task.texts("test")
    settings = fasttext_baseline.choose_fasttext(train, task.texts("valid"), progress)
    runs = []
    for seed in seeds:
        model = fasttext_baseline.fit_fasttext(train, settings, seed)
        runs.append(fasttext_baseline.measured(hits_and_recall, model, test))
    return _Measured(asdict(settings), runs)


def _classifier(
    task: _Task, vectors: np.ndarray, seeds: Sequence[int], progress: Progress | None
) -> _Measured:
    train, test = task.examples("train", vectors), task.examples("test", vectors)
    valid = task.examples("valid", vectors)
    settings: Settings = classifier.choose(train, valid, progress=progress)
    runs = []
    for seed in seeds:
        model = classifier.fit(train, settings, seed, progress)
        runs.append(classifier.measured(hits_and_recall, model, test))
    return _Measured(asdict(settings), runs)


def _system(name: str, measured: _Measured) -> SystemResult:
    levels = []
    for at in range(measured.hits.shape[1]):
        has = ~np.isnan(measured.hits[:, at])
        low, high = bootstrap_interval(measured.hits[has, at])
        levels.append(
            LevelResult(
                level=at + 1,
                queries=int(has.sum()),
                precision=_mean(measured.hits[has, at]),
                low=low,
                high=high,
                of_seeds=[_mean(run[has, 0, at]) for run in measured.runs],
                recall_at_5=float(np.mean([_mean(run[has, 1, at]) for run in measured.runs])),
            )
        )
    return SystemResult(name, measured.settings, levels)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _gains(found: Mapping[str, _Measured], names: Sequence[str]) -> list[Gain]:
    if FASTTEXT not in found:
        return []
    base = found[FASTTEXT].hits
    compared = []
    for name in names:
        for at in range(base.shape[1]):
            has = ~np.isnan(base[:, at])
            if has.any():
                ours = found[name].hits[has, at]
                compared.append((name, at, compare_paired(base[has, at], ours), base[has, at]))
    corrected = holm([difference.p_value for _, _, difference, _ in compared])
    return [
        Gain(
            system=name,
            level=at + 1,
            difference=found_.mean,
            low=found_.low,
            high=found_.high,
            relative=found_.mean / _mean(before) if before.any() else float("nan"),
            p_holm=p,
        )
        for (name, at, found_, before), p in zip(compared, corrected, strict=True)
    ]
