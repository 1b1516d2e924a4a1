"""Ranking metrics with trec_eval's definitions, for one query and for a run.

A ranking is a sequence of documents, best first and without repetition. Gains map a document to
its judged grade (a float; absent means not judged). A document is relevant when its grade is at
least `level`. nDCG's gain is the grade itself, where it is positive (trec_eval's linear gain),
and its discount is log2(rank + 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from math import fsum, log2
from typing import Any

import numpy as np

from omnisearch.data.workspace.errors import InputError

Gains = Mapping[Any, float]
Ranking = Sequence[Hashable]
Measure = Callable[[Ranking, Gains, float], float]


def order_by_score(scores: Mapping[str, float]) -> list[str]:
    """Documents in trec_eval's order: score descending, then document number descending.

    trec_eval keeps scores in single precision, so scores that differ only beyond that tie.
    """
    with np.errstate(over="ignore"):  # out of single precision's range becomes infinity, as in C
        single = {doc: float(np.float32(score)) for doc, score in scores.items()}
    # strcmp's byte order equals code point order, except for bytes that were not UTF-8 when the
    # run was read (surrogateescape).
    return sorted(single, key=lambda doc: (single[doc], _bytes(doc)), reverse=True)


def _bytes(doc: str) -> bytes:
    return doc.encode("utf-8", "surrogateescape")


def ndcg(ranking: Ranking, gains: Gains, level: float = 1.0, k: int | None = None) -> float:
    """Normalised discounted cumulative gain of the first k (all when None); `level` is unused."""
    best = sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:k]
    if not best:
        return 0.0
    found = (max(0.0, gains.get(doc, 0.0)) for doc in ranking[:k])
    return _dcg(found) / _dcg(best)


def condensed_ndcg(
    ranking: Ranking, gains: Gains, level: float = 1.0, k: int | None = None
) -> float:
    """`ndcg` of the ranking without its unjudged documents, so that it is fair to them.

    That is trec_eval's -J. Negative grades mean "not judged", as for `bpref`.
    """
    return ndcg([doc for doc in ranking if gains.get(doc, -1) >= 0], gains, level, k)


def _dcg(gains: Iterable[float]) -> float:
    return fsum(gain / log2(rank + 1) for rank, gain in enumerate(gains, 1) if gain > 0)


def _relevant(gains: Gains, level: float) -> set[Hashable]:
    return {doc for doc, gain in gains.items() if gain >= level}


def average_precision(
    ranking: Ranking, gains: Gains, level: float = 1.0, k: int | None = None
) -> float:
    """The sum of precision at each relevant document in the first k, over all relevant ones."""
    relevant = _relevant(gains, level)
    hits = [rank for rank, doc in enumerate(ranking[:k], 1) if doc in relevant]
    return fsum(n / rank for n, rank in enumerate(hits, 1)) / len(relevant) if relevant else 0.0


def precision(ranking: Ranking, gains: Gains, level: float = 1.0, k: int = 10) -> float:
    """The share of the first k places with a relevant document; empty places count."""
    relevant = _relevant(gains, level)
    return sum(doc in relevant for doc in ranking[:k]) / k


def recall(ranking: Ranking, gains: Gains, level: float = 1.0, k: int | None = None) -> float:
    """The share of the relevant documents that are in the first k."""
    relevant = _relevant(gains, level)
    return sum(doc in relevant for doc in ranking[:k]) / len(relevant) if relevant else 0.0


def success(ranking: Ranking, gains: Gains, level: float = 1.0, k: int = 10) -> float:
    """1 if one of the first k is relevant, else 0."""
    return float(any(gains.get(doc, level - 1) >= level for doc in ranking[:k]))


def r_precision(ranking: Ranking, gains: Gains, level: float = 1.0) -> float:
    """Precision at R, the number of relevant documents."""
    relevant = _relevant(gains, level)
    return precision(ranking, gains, level, len(relevant)) if relevant else 0.0


def reciprocal_rank(ranking: Ranking, gains: Gains, level: float = 1.0) -> float:
    """One over the rank of the first relevant document, 0 if there is none."""
    relevant = _relevant(gains, level)
    return next((1 / rank for rank, doc in enumerate(ranking, 1) if doc in relevant), 0.0)


def bpref(ranking: Ranking, gains: Gains, level: float = 1.0) -> float:
    """How rarely judged non-relevant documents rank above relevant ones; unjudged are ignored.

    Negative grades mean "in the pool, not judged", as in trec_eval.
    """
    relevant = _relevant(gains, level)
    if not relevant:
        return 0.0
    others = sum(0 <= gain < level for gain in gains.values())
    above, total = 0, 0.0
    for doc in ranking:
        if doc in relevant:
            total += 1 - min(above, len(relevant)) / min(others, len(relevant)) if above else 1
        elif gains.get(doc, -1) >= 0:
            above += 1
    return total / len(relevant)


def unjudged(ranking: Ranking, gains: Gains, level: float = 1.0, k: int = 10) -> float:
    """The share of the first k documents (of all, if fewer) that are not judged; 0 of none."""
    first = ranking[:k]
    return sum(gains.get(doc, -1) < 0 for doc in first) / len(first) if first else 0.0


_PLAIN: dict[str, Measure] = {
    "ndcg": ndcg,
    "map": average_precision,
    "Rprec": r_precision,
    "recip_rank": reciprocal_rank,
    "bpref": bpref,
}
_CUT: dict[str, Callable[..., float]] = {
    "ndcg_cut": ndcg,
    "condensed_ndcg_cut": condensed_ndcg,
    "map_cut": average_precision,
    "P": precision,
    "recall": recall,
    "success": success,
    "unjudged": unjudged,
}


def measure(name: str) -> Measure:
    """The metric of a trec_eval name, such as 'ndcg_cut_10', 'map', 'P_5' or 'recip_rank'.

    Raises:
        InputError: the metric is unknown.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    found = re.fullmatch(r"(\w+)_([1-9]\d{0,5})", name)
    if found and found[1] in _CUT:
        return partial(_CUT[found[1]], k=int(found[2]))
    known = [*_PLAIN, *(f"{stem}_<k>" for stem in _CUT)]
    raise InputError(f"There is no metric {name!r}.", how=f"Choose one of {', '.join(known)}.")


def evaluate_run(
    rankings: Mapping[str, Ranking],
    qrels: Mapping[str, Gains],
    names: Collection[str],
    level: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Each metric's value for each query that has both a ranking and judgments.

    Returns:
        metric name → query → value; `mean` gives trec_eval's "all".
    """
    measures = {name: measure(name) for name in names}
    queries = [query for query in rankings if query in qrels]
    return {
        name: {query: score(rankings[query], qrels[query], level) for query in queries}
        for name, score in measures.items()
    }


def mean(values: Mapping[str, float]) -> float:
    """The mean over queries; NaN if there are none."""
    return fsum(values.values()) / len(values) if values else float("nan")
