"""Quality of graph embeddings alone: do they find items that co-occurred later?

The pairs are from after the end of training, which no vector has seen: items saved to a board that
already had another, items that one query engaged. Pins are also measured on the queries held out of
training, which exist even if the log is too short for an evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlite_utils
import torch

from omnisearch.data.catalogue.schema import table_of
from omnisearch.data.catalogue.splits import feature_until, known_window, later_window
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.ngrams import NgramIndex
from omnisearch.encoders.training.retrieval_eval import ahead
from omnisearch.enrichment.graph.cooccurrence import (
    CrossSource,
    PairSource,
    board_groups,
    hold_out_groups,
    query_groups,
)
from omnisearch.enrichment.graph.itemsage import network
from omnisearch.enrichment.graph.saved_networks import load
from omnisearch.enrichment.vector_provenance import imported

KS = (10, 100)
_PAIRS = 3000


def temporal_recall(
    workspace: Workspace, db: sqlite_utils.Database
) -> dict[str, tuple[float, ...]]:
    """Kind of pairs, such as 'pin → pin, one query' → Recall at each of KS.

    An item without a vector is not found, and finds nothing. Kinds without pairs are omitted, as
    are 'query → product' and 'product → pin' if no network of this workspace made the vectors.
    """
    until, rng = feature_until(db), np.random.default_rng(0)
    pins = _vectors(workspace, db, "pinsage", "pin")
    products = _vectors(workspace, db, "itemsage", "product")
    found: dict[str, tuple[float, ...]] = {}
    for space in (pins, products):
        for kind, pairs in _alike(db, space, until).items():
            if pairs is not None and len(space.vectors):
                first, second, _ = pairs.draw(_PAIRS, rng)
                found[kind] = _recalls(space.vectors[space.row[first]], space, (first, second))
    saved = load(workspace, "itemsage")
    if saved is None or imported(db, "itemsage", "product") or not len(products.vectors):
        return found
    asked = query_groups(db, "product", products.ids, later_window(until))
    if len(asked):
        bags = NgramIndex(saved.vocabulary).bags_of([name] for name in asked.names)
        with torch.inference_mode():
            queries = network(saved).queries(Levels(bags, backward=False)).numpy()
        chosen = rng.permutation(len(asked.item))[:_PAIRS]
        queries, targets = queries[asked.group[chosen]], asked.item[chosen]
        found["query → product"] = _recalls(queries, products, (None, targets))
    beside = CrossSource.of(
        asked, query_groups(db, "pin", pins.ids, later_window(until)), len(pins.ids)
    )
    if beside is not None and pins.vectors.shape[1] == products.vectors.shape[1]:
        first, second, _ = beside.draw(_PAIRS, rng)
        sources = products.vectors[products.row[first]] * (products.row[first] >= 0)[:, None]
        found["product → pin, one query"] = _recalls(sources, pins, (None, second))
    return found


@dataclass(frozen=True)
class _Space:
    """One entity type's vectors (v, d), all its item ids (n,), and the row of each or -1."""

    entity: str
    ids: list[str]
    vectors: np.ndarray
    row: np.ndarray


def _vectors(workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str) -> _Space:
    ids = [key for (key,) in db.conn.execute(f"SELECT id FROM {table_of(entity)} ORDER BY id")]
    feature = open_vectors(workspace, db, name, entity)
    if feature is None:
        return _Space(entity, ids, np.zeros((0, 0), dtype=np.float32), np.full(len(ids), -1))
    row = np.array([feature.index.get(key, -1) for key in ids], dtype=np.int64)
    return _Space(entity, ids, np.asarray(feature.vectors), row)


def _alike(
    db: sqlite_utils.Database, space: _Space, until: int
) -> dict[str, PairSource | CrossSource | None]:
    """The sources of pairs of one entity type, None if there are no pairs."""
    entity, ids = space.entity, space.ids
    new = board_groups(db, entity, ids, later_window(until))
    old = board_groups(db, entity, ids, known_window(until))
    asked = query_groups(db, entity, ids, later_window(until))
    found: dict[str, PairSource | CrossSource | None] = {
        f"{entity} → {entity}, one query": PairSource.of(asked, len(ids)),
        f"{entity} → {entity}, one board": CrossSource.of(new, old, len(ids)),
    }
    if entity == "pin":  # products read their engaged queries
        back = hold_out_groups(query_groups(db, entity, ids, known_window(until)))[1]
        found["pin → pin, one query kept back"] = PairSource.of(back, len(ids))
    return found


def _recalls(
    sources: np.ndarray, space: _Space, pairs: tuple[np.ndarray | None, np.ndarray]
) -> tuple[float, ...]:
    """The share of pairs (first, second) whose second is among the k nearest of (b, d) sources.

    `first` is None if the sources are not rows of this space.
    """
    first, second = pairs
    target = space.row[second]
    own = 0 if first is None else 1  # its own row is the nearest
    there = (target >= 0) & (True if first is None else space.row[first] >= 0)
    ranks = np.full(len(second), len(space.vectors) + 1)
    positives = space.vectors[target[there]]
    ranks[there] = ahead(sources[there], positives, space.vectors, target[there]) - own
    return tuple(float((ranks < k).mean()) for k in KS)
