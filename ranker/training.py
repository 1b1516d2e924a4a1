"""Training both rankers, and measuring them on unseen queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.ranker.choice import FEW, Values, chosen_order
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import NetworkOptions
from omnisearch.ranker.starter import starter

LABELS = ("engagement", "relevance")
IMPORTANCE_QUERIES = 300  # enough to rank the features


@dataclass(frozen=True)
class RankerConfig:
    """How to train.

    Attributes:
        held_out: share of the queries that are held out and measured; none of fewer than 5. Where
            these would be fewer than FEW, each such share is held out in turn.
        relevance_weight: the mix that the report measures.
        l1_prior: strength of L1's regularisation towards the starter ranker, divided by the
            number of queries.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    held_out: float = 0.2
    relevance_weight: float = 0.5
    l1_prior: float = 20.0
    seed: int = 7


@dataclass(frozen=True)
class Rankers:
    """Trained L1 and L2, with the report of their training (plain JSON values)."""

    l1: Linear
    l2: L2
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> str:
        """Which of them orders the full stack: 'l2', 'l1', or '' for neither."""
        return str(self.report.get("order", "l2"))


@dataclass(frozen=True)
class Part:
    """Lists of some queries.

    Attributes:
        all: label → all candidates, those without the label counted as 0.
        labelled: label → only those with it.
    """

    all: dict[str, Lists]
    labelled: dict[str, Lists]

    @classmethod
    def of(cls, data: RankingData, rows: np.ndarray) -> Part:
        return cls(
            {label: informative_lists(data, label, rows) for label in LABELS},
            {label: informative_lists(data, label, rows, labelled=True) for label in LABELS},
        )

    def sizes(self) -> dict[str, int]:
        """label → number of queries."""
        return {label: len(lists.sizes) for label, lists in self.all.items()}


Held = Sequence[tuple[np.ndarray, Part]]  # for each fold its rows, bool (n,), and their lists


def train_rankers(
    data: RankingData,
    config: RankerConfig = RankerConfig(),
    progress: Progress | None = None,
) -> Rankers:
    """Measure L1 and L2 on queries held out of their training, then train them on all queries.

    L2 has a head for each kind of label in the data. A teacher's grades are learned from like
    judgments if that helps (`taught` in the report), and not measured by. The report holds, for
    each label, nDCG@10 on the held-out queries (mean) of L1, each head, the mix and every single
    feature as an ordering, over all candidates (`ndcg@10`) and over the labelled ones (`ndcg@10 of
    labelled`); the order that `chosen_order` picks by the latter; the importance of features; and
    the numbers of rows and queries; what was `left_out`, and why. The models that order held-out
    queries were trained only on the other queries. `progress` counts, from 0, the models that are
    fitted.

    Raises:
        InputError: shapes do not agree.
        NotReady: no query has candidates with different labels.
    """
    _check(data)
    folds = [(rows, Part.of(data, rows)) for rows in _folds(data.groups, config)]
    graded = data.taught is not None and np.isfinite(data.taught).any()
    trainings = 1 + len(folds) * (3 if graded else 1)
    tell = _Fitted(progress, trainings * (1 + len(LABELS)))
    taught = _teaches(data, folds, config, tell)
    learned_from = data.with_taught() if taught else data
    whole = Part.of(learned_from, np.ones(len(data), bool))
    if not any(whole.sizes().values()):
        raise NotReady(
            "There is nothing to train the rankers on: no query has candidates with different "
            "labels.",
            how="Import engagements or judgments of queries that retrieve more than one item.",
        )
    l1, l2 = _fit(whole, config, tell)
    labelled, every, importance = _measured(learned_from, folds, config, tell)
    unmeasured = {label for label, size in whole.sizes().items() if size} - set(importance)
    for label in unmeasured:
        importance[label] = _importance(whole.all[label], getattr(l2, label))
    report = {
        "rows": len(data),
        "queries": len(np.unique(data.groups)),
        "trained_on": whole.sizes(),
        "held_out": {label: sum(test.sizes()[label] for _, test in folds) for label in LABELS},
        "left_out": [asdict(each) for each in (*data.left_out, *_alike(data, whole))],
        "taught": taught,
        "relevance_weight": config.relevance_weight,
        "order": chosen_order(list(labelled.values())),
        "ndcg@10": {label: _means(found) for label, found in every.items()},
        "ndcg@10 of labelled": {label: _means(found) for label, found in labelled.items()},
        "importance": importance,
    }
    tell.all()
    return Rankers(l1, l2, report)


@dataclass
class _Fitted:
    """Counts the models that are fitted: at most `most`, fewer if labels of a kind are missing."""

    progress: Progress | None
    most: int
    done: int = 0

    def __post_init__(self) -> None:
        self._tell()

    def one(self) -> None:
        self.done += 1
        self._tell()

    def all(self) -> None:
        self.done = self.most
        self._tell()

    def _tell(self) -> None:
        if self.progress:
            self.progress(self.done, self.most)


def _alike(data: RankingData, whole: Part) -> list[LeftOut]:
    """The queries whose candidates all have the same label: they say nothing about order."""
    found = []
    for label, kind in zip(LABELS, ("logged", "judged"), strict=True):
        known = ~np.isnan(getattr(data, label))
        count = len(np.unique(data.groups[known])) - whole.sizes()[label]
        why = "none of their labelled items is among what search finds, or all are equally good"
        found.append(LeftOut(max(0, count), f"{kind} queries", why))
    return some(found)


def _teaches(data: RankingData, folds: Held, config: RankerConfig, tell: _Fitted) -> bool:
    """Whether L2 orders held-out judged candidates better if it learns from a teacher's grades too.

    The order among all candidates cannot tell: where what nobody judged counts as irrelevant, even
    a perfect teacher loses.
    """
    if data.taught is None or not np.isfinite(data.taught).any():
        return False
    found = []
    for learned_from in (data, data.with_taught()):
        values = [np.zeros(0)]
        for rows, test in folds:
            train, judged = Part.of(learned_from, ~rows), test.labelled["relevance"]
            if train.sizes()["relevance"] and len(judged.sizes):
                _, l2 = _fit(train, config, tell)
                values.append(ndcg(judged, l2.score(judged.X, config.relevance_weight)))
        found.append(np.concatenate(values).sum())
    before, after = found
    return bool(after > before)


def _measured(
    data: RankingData, folds: Held, config: RankerConfig, tell: _Fitted
) -> tuple[dict[str, Values], dict[str, Values], dict[str, dict[str, float]]]:
    """How models of the other queries order those of each fold.

    Returns:
        For each label the values among the labelled candidates, those among all, and the importance
        of features in the first fold.
    """
    labelled: dict[str, list[Values]] = {}
    every: dict[str, list[Values]] = {}
    importance: dict[str, dict[str, float]] = {}
    for rows, test in folds:
        train = Part.of(data, ~rows)
        measurable = [label for label in LABELS if test.sizes()[label] and train.sizes()[label]]
        if not measurable:
            continue
        l1, l2 = _fit(train, config, tell)
        for label in measurable:
            lists, among = test.all[label], test.labelled[label]
            values = _values(lists, l1, l2, config) | _features(lists)
            every.setdefault(label, []).append(values)
            if len(among.sizes):
                labelled.setdefault(label, []).append(_values(among, l1, l2, config))
            if label not in importance:
                importance[label] = _importance(lists, getattr(l2, label))
    return _joined(labelled), _joined(every), importance


def _joined(found: Mapping[str, Sequence[Values]]) -> dict[str, Values]:
    """The values of all folds, one after another; without a head where a fold cannot train it."""
    return {
        label: {
            name: np.concatenate([values[name] for values in folds if name in values])
            for name in folds[0]
        }
        for label, folds in found.items()
    }


def _fit(part: Part, config: RankerConfig, tell: _Fitted) -> tuple[Linear, L2]:
    """L1 from both kinds of labels, and an L2 head for each; at least one has queries."""
    usable = {label: lists for label, lists in part.all.items() if len(lists.sizes)}
    learned_from = sum(len(lists.sizes) for lists in usable.values())
    strength = config.l1_prior / learned_from
    l1 = Linear.fit(
        list(usable.values()), l1_names(), strength, starter(config.network.word_weight)
    )
    tell.one()
    judged = {"relevance": part.labelled["relevance"]}
    heads = {}
    for label, each in usable.items():
        heads[label] = Head.fit(each, judged.get(label), config.network)
        tell.one()
    return l1, L2(heads.get("engagement"), heads.get("relevance"))


def _values(lists: Lists, l1: Linear, l2: L2, config: RankerConfig) -> Values:
    X, names = lists.X, feature_names()
    columns = {name: X[:, names.index(name)] for name in ("bm25", "bm25_rr", "learned_rr")}
    orderings = {
        "l2": l2.score(X, config.relevance_weight),
        **{f"l2 {name} head": scores for name, scores in l2.scores(X).items()},
        "l1": l1.score(X),
        "starter": starter(config.network.word_weight).score(X),
        "rrf": columns["bm25_rr"] + columns["learned_rr"],
        "token": columns["bm25"],
    }
    return {name: ndcg(lists, scores) for name, scores in orderings.items()}


def _features(lists: Lists) -> Values:
    """Each feature as an ordering."""
    return {name: ndcg(lists, lists.X[:, column]) for column, name in enumerate(feature_names())}


def _means(values: Values) -> dict[str, float]:
    """The mean of each ordering; features after the others, best first."""
    means = {name: float(column.mean()) for name, column in values.items()}
    features = {name: means.pop(name) for name in feature_names() if name in means}
    return means | dict(sorted(features.items(), key=lambda pair: -pair[1]))


def _importance(lists: Lists, head: Head) -> dict[str, float]:
    """The drop in nDCG@10 when a feature is shuffled within each query, largest first."""
    lists = lists.first(IMPORTANCE_QUERIES)
    whole = ndcg(lists, head.score(lists.X)).mean()
    query = np.repeat(np.arange(len(lists.sizes)), lists.sizes)
    order = np.lexsort((np.random.default_rng(0).random(len(query)), query))
    falls = {}
    for column, name in enumerate(feature_names()):
        X = lists.X.copy()
        X[:, column] = X[order, column]
        falls[name] = float(whole - ndcg(lists, head.score(X)).mean())
    return dict(sorted(falls.items(), key=lambda pair: -pair[1]))


def _folds(groups: np.ndarray, config: RankerConfig) -> list[np.ndarray]:
    """bool (n,) for each fold: the rows of its queries, which are chosen by the seed alone."""
    queries = np.unique(groups)
    if len(queries) < 5 or not config.held_out:
        return []
    place = np.random.default_rng(config.seed).random(len(queries)) / config.held_out
    few = (place < 1).sum() < FEW
    folds = [(place >= at) & (place < at + 1) for at in range(round(1 / config.held_out))]
    return [np.isin(groups, queries[fold]) for fold in (folds if few else folds[:1])]


def _check(data: RankingData) -> None:
    n = len(data)
    columns = [data.groups, data.engagement, data.relevance]
    columns += [each for each in (data.weights, data.taught) if each is not None]
    features = len(feature_names())
    if data.X.shape != (n, features) or any(len(column) != n for column in columns):
        raise InputError(
            f"Ranking data must have {features} features and one label and one query number "
            f"a row; it has X {data.X.shape} and columns of {[len(c) for c in columns]} rows."
        )
