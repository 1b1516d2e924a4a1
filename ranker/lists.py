"""Rows grouped by query: sorting into lists, selecting those to train on, nDCG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from omnisearch.data.catalogue.left_out import LeftOut


@dataclass(frozen=True)
class RankingData:
    """Candidates of many queries with their labels. Rows may come in any order.

    Attributes:
        X: float32 (n, F), rows of `omnisearch.ranker.features.feature_matrix`.
        groups: int64 (n,), the number of the row's query.
        engagement: float32 (n,), graded gain (see `omnisearch.ranker.labels`), NaN if unknown.
        relevance: float32 (n,), judged grade as a gain, 0 irrelevant, NaN if not judged.
        weights: float32 (n,), the weight of a row's engagement label; None for 1 everywhere.
        shown, judged: bool (n,), whether the label is from the data: the query showed the item, a
            judge graded it. Other labels are assumed to be 0. None for all that are known.
        taught: float32 (n,), a teacher's grade of what nobody judged, NaN if there is none; None
            without a teacher.
        left_out: what was not collected, and why.
    """

    X: np.ndarray
    groups: np.ndarray
    engagement: np.ndarray
    relevance: np.ndarray
    weights: np.ndarray | None = None
    shown: np.ndarray | None = None
    judged: np.ndarray | None = None
    taught: np.ndarray | None = None
    left_out: Sequence[LeftOut] = ()

    def __len__(self) -> int:
        return len(self.X)

    def with_taught(self) -> RankingData:
        """These data with the teacher's grades as if they were judges': to train by.

        A candidate without a grade of either kind is irrelevant if its query has any.
        """
        if self.taught is None or self.judged is None:
            return self
        given = ~np.isnan(self.taught) & ~self.judged
        of_taught = np.isin(self.groups, self.groups[given])
        assumed = np.where(of_taught, np.nan_to_num(self.relevance), self.relevance)
        return replace(
            self,
            relevance=np.where(given, self.taught, assumed).astype(np.float32),
            judged=self.judged | given,
        )


@dataclass(frozen=True)
class Lists:
    """Rows sorted by query, with one label; query q's rows are `starts[q]:starts[q] + sizes[q]`.

    Attributes:
        X: float32 (n, F). y: float32 (n,), not negative. weights: float32 (n,).
        sizes: int64 (queries,).
        queries: int64 (queries,), the group numbers.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    sizes: np.ndarray
    queries: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    def first(self, queries: int) -> Lists:
        """The lists of the first `queries` queries."""
        rows = int(self.sizes[:queries].sum())
        return Lists(
            self.X[:rows],
            self.y[:rows],
            self.weights[:rows],
            self.sizes[:queries],
            self.queries[:queries],
        )

    def shares(self) -> np.ndarray:
        """(n,) float64, labels as shares of their query's sum."""
        y = self.y.astype(np.float64)
        return y / np.repeat(np.add.reduceat(y, self.starts), self.sizes)


def informative_lists(
    data: RankingData, label: str, keep: np.ndarray | None = None, labelled: bool = False
) -> Lists:
    """The queries whose known labels differ, with only their labelled rows.

    Queries whose labels are all equal say nothing about order and are left out.

    Args:
        label: 'engagement' or 'relevance'.
        keep: bool (n,), rows to choose from; None for all.
        labelled: leave out rows whose label is assumed.
    """
    y = np.maximum(np.asarray(getattr(data, label), dtype=np.float32), 0)
    known = ~np.isnan(y) if keep is None else ~np.isnan(y) & keep
    weights, given = (data.weights, data.shown) if label == "engagement" else (None, data.judged)
    if labelled and given is not None:
        known = known & given
    if weights is not None:
        known = known & (np.asarray(weights) > 0)
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(data.groups[rows], kind="stable")]
    queries, starts, sizes = np.unique(data.groups[rows], return_index=True, return_counts=True)
    if not len(rows):
        differ = np.zeros(0, dtype=bool)
    else:
        differ = np.maximum.reduceat(y[rows], starts) > np.minimum.reduceat(y[rows], starts)
    rows = rows[np.repeat(differ, sizes)]
    return Lists(
        X=data.X[rows],
        y=y[rows],
        weights=np.ones(len(rows), np.float32) if weights is None else weights[rows],
        sizes=sizes[differ],
        queries=queries[differ],
    )


def ndcg(lists: Lists, scores: np.ndarray, k: int = 10) -> np.ndarray:
    """(queries,) nDCG@k with the labels themselves as gains, as in trec_eval's ndcg_cut.

    The ideal order is over the rows given (what was retrieved and labelled). Equal scores are
    ordered by a fixed shuffle, so that the order of the rows has no influence; NaN scores come
    last.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    query = np.repeat(np.arange(len(lists.sizes)), lists.sizes)
    shuffle = np.random.default_rng(0).permutation(len(scores))
    gained = _discounted(lists, np.lexsort((shuffle, -scores, query)), k)
    ideal = _discounted(lists, np.lexsort((-lists.y, query)), k)
    return gained / ideal


def _discounted(lists: Lists, order: np.ndarray, k: int) -> np.ndarray:
    place = np.arange(len(order)) - np.repeat(lists.starts, lists.sizes)
    gain = np.where(place < k, lists.y[order] / np.log2(place + 2), 0)
    return np.add.reduceat(gain, lists.starts) if len(gain) else np.zeros(0)
