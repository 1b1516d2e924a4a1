"""Recall@10 of the engaged entity among random entities, by exact search (§4.2).

A pair counts as found if fewer than k entities of the corpus score at least as high as the engaged
one: ties count against the model. As in the paper, other entities engaged by the same query are
not removed from the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.ranks import exact_ranks
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.token_index import TokenIndex

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Recall:
    """One figure: the recall of one space on a group of pairs.

    Attributes:
        space: 'learned', 'pinsage', 'itemsage' or 'bm25'.
        pairs_of: entity and action, such as 'pin/save'.
        group: '' for all pairs, else 'language=de' or 'country=FR'.
        corpus: number of random entities that the engaged one was ranked among.
        low, high: 95% bootstrap interval over queries; the pairs of a query stay together.
    """

    space: str
    pairs_of: str
    group: str
    pairs: int
    queries: int
    corpus: int
    recall: float
    low: float
    high: float


@dataclass(frozen=True)
class RecallOptions:
    """`corpus` is the paper's m; a smaller catalogue is used whole."""

    k: int = 10
    corpus: int = 1_500_000
    seed: int = 0


def token_ranks(
    texts: Sequence[str],
    targets: np.ndarray,
    index: TokenIndex,
    corpus: np.ndarray,
    k: int,
    progress: Progress | None = None,
) -> np.ndarray:
    """Like `exact_ranks`, in a token index's BM25 ranking; exact up to rank k, beyond it k + 1."""
    ranks = np.full(len(texts), k + 1, dtype=np.int64)
    in_corpus = corpus.copy()  # (N,) bool
    for number, (text, target) in enumerate(zip(texts, targets, strict=True)):
        if target >= 0:
            before, in_corpus[target] = in_corpus[target], True
            everything = bool(in_corpus.all())
            rows, scores = index.search(
                query_tokens(text), k + 1, None if everything else in_corpus
            )
            in_corpus[target] = before
            own = np.flatnonzero(rows == target)
            if own.size:
                ranks[number] = min(k + 1, int((scores >= scores[own[0]]).sum()))
        if progress:
            progress(number + 1, len(texts))
    return ranks


def evaluate_recall(
    generation: Generation,
    encode: Encode,
    pairs: Mapping[str, pa.Table],
    options: RecallOptions | None = None,
    progress: Progress | None = None,
) -> list[Recall]:
    """Recall of every space on every kind of pairs: overall, by language and by country.

    Args:
        pairs: `omnisearch.data.catalogue.pairs.evaluation_pairs`, keyed '<entity>/<action>'.
        encode: texts → (n, d) unit float32, such as `Encoder.queries`.
    """
    options = options or RecallOptions()
    texts = sorted({text for table in pairs.values() for text in table["query"].to_pylist()})
    row_of = {text: row for row, text in enumerate(texts)}
    some = texts and generation.spaces
    vectors = encode(texts) if some else np.zeros((len(texts), 1), dtype=np.float32)
    found: list[Recall] = []
    for done, (name, table) in enumerate(pairs.items(), 1):
        entity = name.split("/")[0]
        if entity in generation.tables:
            rows = np.array([row_of[text] for text in table["query"].to_pylist()], dtype=np.int64)
            found += _of_entity(generation, (name, entity), table, vectors[rows], options)
        if progress:
            progress(done, len(pairs))
    return found


def _of_entity(
    generation: Generation,
    named: tuple[str, str],
    pairs: pa.Table,
    queries: np.ndarray,
    options: RecallOptions,
) -> list[Recall]:
    name, entity = named
    items = generation.tables[entity]
    targets = _rows(items, pairs["item_id"].to_pylist())
    # Related queries are ranked among the other queries: a query does not suggest itself.
    own = _rows(items, pairs["query"].to_pylist()) if entity == "query" else None
    sample = np.random.default_rng(options.seed).permutation(len(items.ids))[: options.corpus]
    found = []
    for (kind, space), index in generation.spaces.items():
        if kind == entity:
            corpus = np.sort(sample[index.present[sample]])
            wanted = np.where((targets >= 0) & index.present[targets], targets, -1)
            ranks = exact_ranks(queries, wanted, np.asarray(index.vectors), corpus, own)
            found += summarise(pairs, ranks <= options.k, (space, name, len(corpus)))
    if entity in generation.tokens:
        chosen = np.zeros(len(items.ids), dtype=bool)
        chosen[sample] = True
        texts = pairs["query"].to_pylist()
        ranks = token_ranks(texts, targets, generation.tokens[entity], chosen, options.k)
        found += summarise(pairs, ranks <= options.k, ("bm25", name, len(sample)))
    return found


def _rows(items: Any, ids: Sequence[str]) -> np.ndarray:
    """The rows of ids, -1 for missing ids."""
    return np.array([items.row_of.get(key, -1) for key in ids], dtype=np.int64)


def summarise(
    pairs: pa.Table, hits: np.ndarray, of: tuple[str, str, int], seed: int = 0
) -> list[Recall]:
    """The recall over all pairs, then over the pairs of each language and each country.

    `of` is (space, kind of pairs, corpus size); hits is (n,) bool, aligned with `pairs`.
    """
    queries = np.array(pairs["query"].to_pylist(), dtype=object)
    groups = [("", np.ones(len(hits), dtype=bool))]
    for column in ("language", "country"):
        values = np.array([value or "" for value in pairs[column].to_pylist()], dtype=object)
        groups += [(f"{column}={value}", values == value) for value in sorted(set(values)) if value]
    return [
        _recall(of, group, queries[chosen], hits[chosen], seed)
        for group, chosen in groups
        if chosen.any()
    ]


def _recall(
    of: tuple[str, str, int], group: str, queries: np.ndarray, hits: np.ndarray, seed: int
) -> Recall:
    names, of_pair = np.unique(queries.astype(str), return_inverse=True)
    sizes = np.bincount(of_pair)
    found = np.bincount(of_pair, weights=hits)
    low, high = bootstrap_interval(found, weights=sizes, seed=seed)
    space, pairs_of, corpus = of
    return Recall(
        space=space,
        pairs_of=pairs_of,
        group=group,
        pairs=len(hits),
        queries=len(names),
        corpus=corpus,
        recall=float(hits.mean()),
        low=low,
        high=high,
    )
