"""Training both rankers, and measuring them on unseen queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import NetworkOptions
from omnisearch.ranker.starter import starter

LABELS = ("engagement", "relevance")
FEWEST, FEW = 20, 100  # queries that orders are compared by, and what is few of them
IMPORTANCE_QUERIES = 300  # enough to rank the features


@dataclass(frozen=True)
class RankerConfig:
    """How to train.

    Attributes:
        held_out: share of the queries that are held out and measured; none of fewer than 5.
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
    the numbers of rows and queries; what was `left_out`, and why. The measured models were trained
    only on the other queries. `progress` counts, from 0, the models that are fitted.

    Raises:
        InputError: shapes do not agree.
        NotReady: no query has candidates with different labels.
    """
    _check(data)
    kept_back = _held_out(data.groups, config)
    everyone = np.ones(len(data), bool)
    test = Part.of(data, kept_back)
    graded = data.taught is not None and np.isfinite(data.taught).any()
    trainings = 4 if graded else 2
    tell = _Fitted(progress, trainings * (1 + len(LABELS)))
    taught = _teaches(data, kept_back, test, config, tell)
    learned_from = data.with_taught() if taught else data
    whole, train = (Part.of(learned_from, rows) for rows in (everyone, ~kept_back))
    if not any(whole.sizes().values()):
        raise NotReady(
            "There is nothing to train the rankers on: no query has candidates with different "
            "labels.",
            how="Import engagements or judgments of queries that retrieve more than one item.",
        )
    l1, l2 = _fit(whole, config, tell)
    report: dict[str, Any] = {
        "rows": len(data),
        "queries": len(np.unique(data.groups)),
        "trained_on": whole.sizes(),
        "held_out": test.sizes(),
        "left_out": [asdict(each) for each in (*data.left_out, *_alike(data, whole))],
        "taught": taught,
        "relevance_weight": config.relevance_weight,
        "order": "l2",
        "ndcg@10": {},
        "ndcg@10 of labelled": {},
        "importance": {},
    }
    measurable = [label for label in LABELS if test.sizes()[label] and train.sizes()[label]]
    if measurable:
        l1_of_others, l2_of_others = _fit(train, config, tell)
        weight = config.relevance_weight
        among = {label: lists for label, lists in test.labelled.items() if len(lists.sizes)}
        values = {
            label: _values(each, l1_of_others, l2_of_others, weight)
            for label, each in among.items()
        }
        report["order"] = chosen_order(list(values.values()))
        report["ndcg@10 of labelled"] = {label: _means(found) for label, found in values.items()}
    for label in LABELS:
        if label in measurable:
            lists = test.all[label]
            figures = _means(_values(lists, l1_of_others, l2_of_others, weight)) | _features(lists)
            report["ndcg@10"][label] = figures
            report["importance"][label] = _importance(lists, getattr(l2_of_others, label))
        elif whole.sizes()[label]:
            report["importance"][label] = _importance(whole.all[label], getattr(l2, label))
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


def _teaches(
    data: RankingData, kept_back: np.ndarray, test: Part, config: RankerConfig, tell: _Fitted
) -> bool:
    """Whether L2 orders held-out judged candidates better if it learns from a teacher's grades too.

    The order among all candidates cannot tell: where what nobody judged counts as irrelevant, even
    a perfect teacher loses.
    """
    taught, judged = data.taught, test.labelled["relevance"]
    if taught is None or not np.isfinite(taught).any() or not len(judged.sizes):
        return False
    found = []
    for learned_from in (data, data.with_taught()):
        part = Part.of(learned_from, ~kept_back)
        if not part.sizes()["relevance"]:
            return False
        _, l2 = _fit(part, config, tell)
        found.append(ndcg(judged, l2.score(judged.X, config.relevance_weight)).mean())
    before, after = found
    return bool(after > before)


def _fit(part: Part, config: RankerConfig, tell: _Fitted) -> tuple[Linear, L2]:
    """L1 from both kinds of labels, and an L2 head for each; at least one has queries."""
    usable = {label: lists for label, lists in part.all.items() if len(lists.sizes)}
    learned_from = sum(len(lists.sizes) for lists in usable.values())
    strength = config.l1_prior / learned_from
    l1 = Linear.fit(list(usable.values()), l1_names(), strength, starter())
    tell.one()
    judged = {"relevance": part.labelled["relevance"]}
    heads = {}
    for label, each in usable.items():
        heads[label] = Head.fit(each, judged.get(label), config.network)
        tell.one()
    return l1, L2(heads.get("engagement"), heads.get("relevance"))


def _values(lists: Lists, l1: Linear, l2: L2, weight: float) -> dict[str, np.ndarray]:
    """Ordering → nDCG@10 of each query (q,)."""
    X, names = lists.X, feature_names()
    columns = {name: X[:, names.index(name)] for name in ("bm25", "bm25_rr", "learned_rr")}
    orderings = {
        "l2": l2.score(X, weight),
        **{f"l2 {name} head": scores for name, scores in l2.scores(X).items()},
        "l1": l1.score(X),
        "starter": starter().score(X),
        "rrf": columns["bm25_rr"] + columns["learned_rr"],
        "token": columns["bm25"],
    }
    return {name: ndcg(lists, scores) for name, scores in orderings.items()}


def _means(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in values.items()}


def _features(lists: Lists) -> dict[str, float]:
    """Each feature as an ordering, and its mean nDCG@10, best first."""
    single = {
        name: float(ndcg(lists, lists.X[:, column]).mean())
        for column, name in enumerate(feature_names())
    }
    return dict(sorted(single.items(), key=lambda pair: -pair[1]))


def chosen_order(values: Sequence[Mapping[str, np.ndarray]]) -> str:
    """'l2', else 'l1', else '' for neither: the first that loses to none of the simpler orders.

    An order loses where its nDCG@10 is lower (`loses`) on the queries of one kind of label. Of few
    queries (FEW) chance explains much: there it must not be lower than the starter ranker's at all.

    Args:
        values: for each kind of label, ordering → nDCG@10 of each query among its labelled
            candidates. Those that nobody labelled are left out (condensed lists; Sakai, 2007): an
            order is then not worse for showing what the logged search never did.
    """
    simple = ("starter", "rrf", "token")
    for name, simpler in (("l2", ("l1", *simple)), ("l1", simple)):
        lost = any(loses(found[name], found[other]) for found in values for other in simpler)
        if not lost and not any(_below(found[name], found["starter"]) for found in values):
            return name
    return ""


def _below(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return FEWEST <= len(ours) < FEW and bool(ours.mean() < theirs.mean())


def loses(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether ours are lower by more than chance explains: one-sided, 95%.

    Args:
        ours, theirs: (q,) values of the same queries; fewer than FEWEST say nothing.
    """
    if len(ours) < FEWEST:
        return False
    differences = ours - theirs
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() + 1.645 * error < 0)


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


def _held_out(groups: np.ndarray, config: RankerConfig) -> np.ndarray:
    """bool (n,): rows of the held-out queries, chosen by the seed alone."""
    queries = np.unique(groups)
    chosen = np.random.default_rng(config.seed).random(len(queries)) < config.held_out
    if len(queries) < 5:
        chosen[:] = False
    return np.isin(groups, queries[chosen])


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
