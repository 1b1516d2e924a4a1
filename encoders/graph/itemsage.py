"""A stand-in for ItemSage (§3.3): product vectors from text and co-engagement.

The real ItemSage is a transformer over a product's text and pictures that is trained on what
users did with it. Here a product is a row of two sparse blocks: tf-idf of the words of its own
text, and tf-idf of the queries that engaged it (two products are near if the same queries engaged
them, whatever words they use). A truncated SVD of both together makes the space. Real vectors are
imported under the same name.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import sqlite_utils

from data.catalogue import TEXT_FIELDS, count, field_texts, read_items
from data.enrich.engaged import ACTION_WEIGHTS
from data.features import Feature, write_feature
from data.pairs import HELD_OUT, feature_until
from data.text import words
from data.workspace import Workspace
from encoders.graph.factorise import note_fit, truncated_svd, unit_rows

# A product's own text; what users made of it comes in through the log.
FIELDS = tuple(f for f in TEXT_FIELDS if f not in ("board_titles", "engaged_queries"))
MAX_WORDS = 50_000  # of the vocabulary, those in most products
ENGAGEMENT = 0.7  # length of the co-engagement block beside the text's 1


def fit_itemsage(
    workspace: Workspace,
    db: sqlite_utils.Database,
    dim: int = 256,
    seed: int = 0,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Feature:
    """Fit the space and write the feature 'itemsage' of products: float32 (n, dim), unit rows.

    Engagements before `until` count, by default up to the end of training; queries that a data set
    holds out never do. Products without a known word or a shared query are absent. Where there are
    fewer than `dim` directions the rest are zeros. Deterministic. An earlier 'itemsage' is
    replaced; without any product nothing is written and the feature returned is empty.
    """
    until = feature_until(db) if until is None else until
    total = count(db, "product")
    steps = total + 2
    ids, text = text_block(db, progress and (lambda done: progress(done, steps)))
    shared = engagement_block(db, ids, until)
    both = sp.hstack([text, shared * ENGAGEMENT]).tocsr()
    if not both.nnz:
        return Feature("itemsage", "product", [], np.zeros((0, dim), dtype=np.float32))
    factors = truncated_svd(unit_sparse(both), dim, seed)
    if progress:
        progress(total + 1, steps)
    rows, present = unit_rows(factors.rows * factors.values, dim)
    kept = [key for key, there in zip(ids, present, strict=True) if there]
    feature = write_feature(workspace, db, "itemsage", "product", kept, rows, replace=True)
    note_fit(db, feature, until)
    if progress:
        progress(steps, steps)
    return feature


def text_block(
    db: sqlite_utils.Database, progress: Callable[[int], None] | None = None
) -> tuple[list[str], sp.csr_matrix]:
    """All product ids, and the tf-idf of their words: float32 (products, words), unit rows."""
    ids: list[str] = []
    vocabulary: dict[str, int] = {}
    columns, values, ends = array("i"), array("f"), array("q", [0])
    for batch in read_items(db, "product"):
        for item in batch:
            ids.append(item["id"])
            found = Counter(w for text in field_texts(item, FIELDS) for w in words(text))
            columns.extend(vocabulary.setdefault(word, len(vocabulary)) for word in found)
            values.extend(found.values())
            ends.append(len(columns))
        if progress:
            progress(len(ids))
    return ids, tf_idf(_csr(values, columns, ends, len(vocabulary)), MAX_WORDS)


def engagement_block(db: sqlite_utils.Database, ids: list[str], until: int) -> sp.csr_matrix:
    """The tf-idf of the queries that engaged each product: float32 (products, queries), unit rows.

    A query that engaged one product only ties it to no other and is left out.
    """
    weight = " ".join(f"WHEN '{action}' THEN {w}" for action, w in ACTION_WEIGHTS.items())
    cursor = db.conn.execute(
        f"SELECT item_id, query, SUM((CASE action {weight} END) * count) AS weight "
        "FROM engagements WHERE entity = 'product' AND time < ? AND action <> 'impression' "
        f"AND query NOT IN ({HELD_OUT}) GROUP BY item_id, query HAVING weight > 0 "
        "ORDER BY item_id, query",
        [until],
    )
    row_of = {key: row for row, key in enumerate(ids)}
    queries: dict[str, int] = {}
    rows, columns, values = array("i"), array("i"), array("f")
    for item_id, query, total in cursor:
        if item_id in row_of:
            rows.append(row_of[item_id])
            columns.append(queries.setdefault(query, len(queries)))
            values.append(total)
    where = np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32)
    counts = sp.csr_matrix(
        (np.array(values, dtype=np.float32), where), shape=(len(ids), len(queries))
    )
    return tf_idf(counts, len(queries))


def tf_idf(counts: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """(1 + log count) * log((1 + n) / frequency) over the `most` frequent columns, unit rows.

    Columns of a single row tie nothing together and are dropped, unless there is nothing else.
    """
    frequency = counts.getnnz(axis=0)
    kept = np.flatnonzero(frequency > 1) if (frequency > 1).any() else np.flatnonzero(frequency)
    if len(kept) > most:
        kept = np.sort(kept[np.argsort(-frequency[kept], kind="stable")[:most]])
    weighted = counts[:, kept].tocsr()
    weighted.data = 1.0 + np.log(weighted.data)
    rarity = np.log((1.0 + counts.shape[0]) / frequency[kept]).astype(np.float32)
    return unit_sparse((weighted @ sp.diags(rarity)).tocsr())


def unit_sparse(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Rows scaled to length 1; empty rows stay empty."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sp.diags(1.0 / np.maximum(lengths, 1e-9)) @ matrix).tocsr().astype(np.float32)


def _csr(values: array, columns: array, ends: array, width: int) -> sp.csr_matrix:
    return sp.csr_matrix(
        (np.array(values), np.array(columns), np.array(ends)), shape=(len(ends) - 1, width)
    )
