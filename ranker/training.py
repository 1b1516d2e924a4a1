"""Training both rankers, and measuring them on unseen queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import NetworkOptions

LABELS = ("engagement", "relevance")
IMPORTANCE_QUERIES = 300  # enough to rank the features


@dataclass(frozen=True)
class RankerConfig:
    """How to train.

    Attributes:
        held_out: share of the queries that are held out and measured; none of fewer than 5.
        relevance_weight: the mix that the report measures.
        l1_prior: strength of L1's regularisation towards the order without rankers, divided by the
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


def train_rankers(
    data: RankingData,
    config: RankerConfig = RankerConfig(),
) -> Rankers:
    """Measure L1 and L2 on queries held out of their training, then train them on all queries.

    L2 has a head for each kind of label in the data. The report holds, for each label, nDCG@10 on
    the held-out queries (mean, over the rows with a label) for L1, each head, the mix and every
    single feature as an ordering; the importance of features; and the numbers of rows and queries.
    The measured models were trained only on the other queries.

    Raises:
        InputError: shapes do not agree.
        NotReady: no query has candidates with different labels.
    """
    _check(data)
    kept_back = _held_out(data.groups, config)
    whole = {label: informative_lists(data, label) for label in LABELS}
    train = {label: informative_lists(data, label, ~kept_back) for label in LABELS}
    test = {label: informative_lists(data, label, kept_back) for label in LABELS}
    if not any(len(lists.sizes) for lists in whole.values()):
        raise NotReady(
            "There is nothing to train the rankers on: no query has candidates with different "
            "labels.",
            how="Import engagements or judgments of queries that retrieve more than one item.",
        )
    l1, l2 = _fit(whole, config)
    report: dict[str, Any] = {
        "rows": len(data),
        "queries": len(np.unique(data.groups)),
        "trained_on": {label: len(lists.sizes) for label, lists in whole.items()},
        "held_out": {label: len(lists.sizes) for label, lists in test.items()},
        "relevance_weight": config.relevance_weight,
        "ndcg@10": {},
        "importance": {},
    }
    measurable = [label for label in LABELS if len(test[label].sizes) and len(train[label].sizes)]
    l1_of_others, l2_of_others = _fit(train, config) if measurable else (l1, l2)
    for label in LABELS:
        if label in measurable:
            figures = _measure(test[label], l1_of_others, l2_of_others, config.relevance_weight)
            report["ndcg@10"][label] = dict(figures)
            head = getattr(l2_of_others, label)
            report["importance"][label] = _importance(test[label], head)
        elif len(whole[label].sizes):
            report["importance"][label] = _importance(whole[label], getattr(l2, label))
    return Rankers(l1, l2, report)


def _fit(lists: dict[str, Lists], config: RankerConfig) -> tuple[Linear, L2]:
    """L1 from both kinds of labels, and an L2 head for each; at least one has queries."""
    usable = {label: part for label, part in lists.items() if len(part.sizes)}
    learned_from = sum(len(part.sizes) for part in usable.values())
    l1 = Linear.fit(list(usable.values()), l1_names(), config.l1_prior / learned_from)
    heads = {label: Head.fit(part, config.network) for label, part in usable.items()}
    return l1, L2(heads.get("engagement"), heads.get("relevance"))


def _measure(lists: Lists, l1: Linear, l2: L2, weight: float) -> Iterator[tuple[str, float]]:
    """Orderings with their mean nDCG@10: the models first, then the features, best first."""
    orderings = {"l1": l1.score(lists.X)}
    orderings |= {f"l2 {name} head": scores for name, scores in l2.scores(lists.X).items()}
    orderings["l2"] = l2.score(lists.X, weight)
    for name, scores in orderings.items():
        yield name, float(ndcg(lists, scores).mean())
    single = {
        name: float(ndcg(lists, lists.X[:, column]).mean())
        for column, name in enumerate(feature_names())
    }
    yield from sorted(single.items(), key=lambda pair: -pair[1])


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
    columns += [] if data.weights is None else [data.weights]
    features = len(feature_names())
    if data.X.shape != (n, features) or any(len(column) != n for column in columns):
        raise InputError(
            f"Ranking data must have {features} features and one label and one query number "
            f"a row; it has X {data.X.shape} and columns of {[len(c) for c in columns]} rows."
        )
