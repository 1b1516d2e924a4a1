"""Plain, untrained PinSage and ItemSage as baselines of `benchmarks/graph.py`.

Pins: distributions over the boards where random walks stop (personalised PageRank), randomly
projected, concatenated with the rotated image vector. Products: a truncated SVD of tf-idf of their
words and tf-idf of the queries that engaged them. Neither covers items without any data, and
vectors change when the graph changes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import scipy.sparse as sp
import sqlite_utils
from scipy.sparse.linalg import svds

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.schema import TEXT_FIELDS
from omnisearch.data.catalogue.splits import feature_until, known_window
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.enrichment.graph.cooccurrence import query_groups
from omnisearch.enrichment.graph.walks import pin_board_graph

WALKS, RESUME, PICTURE, ENGAGEMENT = 3, 0.8, 0.7, 0.7
OWN = tuple(f for f in TEXT_FIELDS if f not in ("board_titles", "engaged_queries"))


def plain_pins(workspace: Workspace, db: sqlite_utils.Database, seed: int, dim: int = 256) -> None:
    """Write the feature 'pinsage'."""
    ids = [key for (key,) in db.conn.execute("SELECT id FROM pins ORDER BY id")]
    graph = pin_board_graph(db, ids, feature_until(db))
    vectors = walk_vectors(graph, dim, seed)
    pictures = open_vectors(workspace, db, "image", "pin")
    if pictures is not None:
        rows, there = pictures.rows(ids)
        centred = (rows - rows[there].mean(axis=0)) * there[:, None]
        shape = (max(pictures.dim, dim), min(pictures.dim, dim))
        basis = np.linalg.qr(np.random.default_rng([seed, 1]).standard_normal(shape))[0]
        rotated = centred @ (basis if pictures.dim > dim else basis.T)
        vectors += PICTURE * unit(rotated)
    _write(workspace, db, ("pinsage", "pin"), ids, vectors)


def walk_vectors(graph: sp.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """(pins, dim) float32 unit rows, zeros for pins without boards."""
    of_board = np.maximum(np.asarray(graph.sum(axis=0)).ravel(), 1)
    of_pin = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)
    to_board, to_pin = sp.diags(1 / of_pin) @ graph, sp.diags(1 / of_board) @ graph.T
    state = np.random.default_rng(seed).standard_normal((graph.shape[1], dim))
    state /= np.sqrt(of_board)[:, None]
    vectors = np.zeros((graph.shape[0], dim))
    for step in range(WALKS):
        reached = to_board @ state
        state = to_pin @ reached
        vectors += RESUME**step * unit(reached)
    return unit(vectors)


def plain_products(
    workspace: Workspace, db: sqlite_utils.Database, seed: int, dim: int = 256
) -> None:
    """Write the feature 'itemsage'."""
    ids, found = [], []
    for batch in read_items(db, "product"):
        for item in batch:
            ids.append(item["id"])
            found.append(Counter(w for text in field_texts(item, OWN) for w in words(text)))
    number: dict[str, int] = {}
    places = [number.setdefault(word, len(number)) for bag in found for word in bag]
    counts = [times for bag in found for times in bag.values()]
    ends = np.cumsum([0] + [len(bag) for bag in found])
    text = sp.csr_matrix((counts, places, ends), shape=(len(ids), len(number)), dtype=np.float32)
    asked = query_groups(db, "product", ids, known_window(feature_until(db)))
    ones = np.ones(len(asked.item), dtype=np.float32)
    shared = sp.csr_matrix((ones, (asked.item, asked.group)), shape=(len(ids), len(asked)))
    both = sp.hstack([tf_idf(text), ENGAGEMENT * tf_idf(shared)]).tocsr()
    rank = min(dim, min(both.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(both.shape)).astype(np.float32)
    left, values, _ = svds(both, k=rank, v0=start)
    vectors = np.zeros((len(ids), dim), dtype=np.float32)
    vectors[:, :rank] = left * values
    _write(workspace, db, ("itemsage", "product"), ids, vectors)


def tf_idf(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Unit rows of (1 + log count) * log((1 + n) / rows), for columns in two or more rows."""
    rows_of = counts.getnnz(axis=0)
    kept = np.flatnonzero(rows_of > 1)
    weighted = counts[:, kept].tocsr()
    weighted.data = 1.0 + np.log(weighted.data)
    weighted = weighted @ sp.diags(np.log((1.0 + counts.shape[0]) / rows_of[kept]))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return (sp.diags(1 / np.maximum(lengths, 1e-9)) @ weighted).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _write(
    workspace: Workspace,
    db: sqlite_utils.Database,
    named: tuple[str, str],
    ids: list[str],
    vectors: np.ndarray,
) -> None:
    there = np.linalg.norm(vectors, axis=1) > 1e-6
    kept = [key for key, known in zip(ids, there, strict=True) if known]
    rows = unit(vectors[there]).astype(np.float32)
    write_vectors(workspace, db, *named, kept, rows, replace=True)
