"""Validation during training: Recall@10 on pairs from the last week of the training period.

It must tell one checkpoint from another that is a little better. So an item is searched among all
items, not among a few, half of the pairs are of queries that are not trained on at all, and other
items that the same query led to do not count as errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import sqlite_utils
import torch

from omnisearch.data.catalogue.pairs import window_pairs
from omnisearch.data.catalogue.pseudo_queries import PSEUDO
from omnisearch.data.catalogue.spaces import spaces_of
from omnisearch.data.catalogue.splits import Split, validation_window
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.query import query_chunks
from omnisearch.encoders.training.chunks import item_chunks, visible_strings
from omnisearch.encoders.training.dataset import TrainingData
from omnisearch.encoders.training.retrieval_eval import recall_at

_LARGEST_SHARE = 0.1  # maximum share of the training pairs
_ITEMS_AT_ONCE = 2048


Pair = tuple[str, str]  # query, item id


def hold_out(
    db: sqlite_utils.Database, split: Split, tables: dict[str, pa.Table], config: Config
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Sample validation pairs, and remove those that were new then from the training pairs.

    They are sampled from the last 7 days of training (`validation_window`), at most `valid_pairs`
    per entity type and at most a tenth of its training pairs. As many again are all pairs of
    queries that nobody had asked before: a checkpoint is for these, too.

    Returns:
        The remaining `tables`; and entity → validation pairs, with a column 'seen': whether the
        pair had been engaged before these 7 days.
    """
    week = validation_window(split)
    found = window_pairs(db, week, config.seed, config.valid_pairs)
    left = {name: table for name, table in tables.items() if table.num_rows}
    valid: dict[str, pa.Table] = {}
    for entity in ("pin", "product", "query"):
        mine = [name for name, table in left.items() if _entity(table) == entity]
        trainable = {pair for name in mine for pair in _pairs(left[name])}
        most = min(config.valid_pairs, int(_LARGEST_SHARE * len(trainable)))
        drawn = [table for key, table in found.items() if key.startswith(f"{entity}/")]
        sample = _in_turn(drawn, trainable, most)
        if not sample:
            continue
        seen, asked = _engaged_before(db, entity, week[0], sample)
        chosen = sorted(sample | _of_new_queries(sample, trainable, asked, most))
        queries, ids = zip(*chosen, strict=True)
        valid[entity] = pa.table(
            {"query": queries, "item_id": ids, "seen": [pair in seen for pair in chosen]}
        )
        new = set(chosen) - seen
        for name in mine:
            keep = [pair not in new for pair in _pairs(left[name])]
            left[name] = left[name].filter(pa.array(keep, pa.bool_()))
    return {name: table for name, table in left.items() if table.num_rows}, valid


def recurrence(valid: Mapping[str, pa.Table]) -> float:
    """The share of validation pairs of items that had been engaged before; 0 if there are none."""
    seen = [flag for key, table in valid.items() if key != "query" for flag in _seen(table)]
    return sum(seen) / len(seen) if seen else 0.0


def _entity(table: pa.Table) -> str | None:
    """The entity type of a data set; None if validation has taken all of its pairs."""
    return table["entity"][0].as_py() if table.num_rows else None


def _seen(table: pa.Table) -> list[bool]:
    return table["seen"].to_pylist()


def _pairs(table: pa.Table) -> list[Pair]:
    return list(zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def _in_turn(tables: list[pa.Table], trainable: set[Pair], most: int) -> set[Pair]:
    """At most `most` pairs that are also training pairs, taken from the tables in turn."""
    columns = [_pairs(table) for table in tables]
    chosen: set[Pair] = set()
    for place in range(max((len(column) for column in columns), default=0)):
        for column in columns:
            if len(chosen) < most and place < len(column) and column[place] in trainable:
                chosen.add(column[place])
    return chosen


def _of_new_queries(
    sample: set[Pair], trainable: set[Pair], asked: set[str], most: int
) -> set[Pair]:
    """All training pairs of queries of the sample that nobody had asked before, at most `most`."""
    new = {query for query, _ in sample} - asked
    pairs: dict[str, list[Pair]] = {query: [] for query in new}
    for pair in trainable:
        if pair[0] in new:
            pairs[pair[0]].append(pair)
    in_order = sorted(
        new, key=lambda query: blake2b(query.encode("utf-8", "surrogatepass")).digest()
    )
    sizes = np.cumsum([len(pairs[query]) for query in in_order])
    whole = in_order[: int(np.searchsorted(sizes, most, side="right"))]
    return {pair for query in whole for pair in pairs[query]}


def _engaged_before(
    db: sqlite_utils.Database, entity: str, time: int, pairs: set[Pair]
) -> tuple[set[Pair], set[str]]:
    """Which of the pairs and of their queries had an action other than an impression before
    `time`."""
    db.conn.execute("DROP TABLE IF EXISTS temp.drawn")
    db.conn.execute(
        "CREATE TEMP TABLE drawn (query TEXT, item_id TEXT, PRIMARY KEY (query, item_id))"
    )
    db.conn.executemany("INSERT INTO drawn VALUES (?, ?)", pairs)
    found = db.conn.execute(
        """SELECT DISTINCT e.query, e.item_id FROM engagements e
        WHERE e.query IN (SELECT query FROM drawn)
        AND e.entity = ? AND e.time < ? AND e.action <> 'impression'""",
        [entity, time],
    ).fetchall()
    db.conn.execute("DROP TABLE temp.drawn")
    db.conn.commit()
    return pairs & set(found), {query for query, _ in found}


def _known_pairs(data: TrainingData, entity: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (pairs.queries, pairs.targets)
        for name, pairs in data.pairs.items()
        if pairs.entity == entity and not name.startswith(PSEUDO)
    ]


def _others(
    queries: np.ndarray,
    targets: np.ndarray,
    known: list[tuple[np.ndarray, np.ndarray]],
    corpus: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`ValidationSet.others`: of the validation pairs themselves and of `known` pairs."""
    led_to: dict[int, set[int]] = {query: set() for query in queries.tolist()}
    for sources, found in [(queries, targets), *known]:
        mine = np.isin(sources, queries)
        for query, target in zip(sources[mine].tolist(), found[mine].tolist(), strict=True):
            led_to[query].add(target)
    place = {row: at for at, row in enumerate(corpus.tolist())}
    pairs = [
        (number, place[row])
        for number, (query, target) in enumerate(
            zip(queries.tolist(), targets.tolist(), strict=True)
        )
        for row in sorted(led_to[query] - {target})
        if row in place
    ]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


@dataclass(frozen=True)
class ValidationSet:
    """Pairs of one entity type and a random corpus, by catalogue rows.

    Attributes:
        queries, targets: (n,) int64 rows of each pair.
        seen: (n,) bool: pairs engaged before the validation week.
        corpus: (m,) int64 rows, ascending.
        others: (s,) int64 pairs and (s,) int64 positions in the corpus, of items that the pair's
            query is known to lead to.
    """

    queries: np.ndarray
    targets: np.ndarray
    seen: np.ndarray
    corpus: np.ndarray
    others: tuple[np.ndarray, np.ndarray]


class Validator:
    """Measures Recall@10 of each entity type that is trained on.

    A training without a learned space (`searchsage_config`) is measured in the pre-existing
    spaces of pins and products.

    The catalogue's engaged queries include the validation week. So a pair's positive is encoded
    without the pair's own query, unless the pair had been engaged before that week.
    """

    def __init__(
        self,
        data: TrainingData,
        valid: Mapping[str, pa.Table],
        config: Config,
        pieces: list[list[int]],
        pad_piece: int,
    ) -> None:
        self.data, self.config, self.pieces, self.pad_piece = data, config, pieces, pad_piece
        self.sets: dict[str, ValidationSet] = {}
        trained = {data.pairs[name].entity for name in data.pairs if config.mix[name] > 0}
        if not config.weight_learned:
            given = data.items.features
            trained = {e for e in trained if any(s in given.get(e, {}) for s in spaces_of(e))}
        for number, (entity, table) in enumerate(valid.items()):
            if entity not in trained:
                continue
            rows = data.query_row if entity == "query" else data.items.row_of[entity]
            pairs = [
                (data.query_row[query], rows[target], seen)
                for (query, target), seen in zip(_pairs(table), _seen(table), strict=True)
                if query in data.query_row and target in rows
            ]
            if not pairs:
                continue
            queries, targets, seen = np.array(pairs, dtype=np.int64).T
            pool = data.catalogue_queries
            if entity != "query":
                pool = np.arange(*data.items.span[entity])
            generator = np.random.default_rng([config.seed, 5, number])
            size = min(config.valid_corpus, len(pool))
            corpus = np.sort(generator.choice(pool, size=size, replace=False))
            others = _others(queries, targets, _known_pairs(data, entity), corpus)
            self.sets[entity] = ValidationSet(queries, targets, seen > 0, corpus, others)

    def __call__(self, model: OmniModel, device: torch.device) -> dict[str, float]:
        """Entity type → Recall@10; leaves the model in training mode."""
        model.eval()
        recalls = {
            entity: self._recall(model, device, entity, chosen)
            for entity, chosen in self.sets.items()
        }
        model.train()
        return recalls

    def _recall(
        self, model: OmniModel, device: torch.device, entity: str, chosen: ValidationSet
    ) -> float:
        queries = self._encode_queries(model, device, chosen.queries)
        if entity == "query":
            positives = self._encode_queries(model, device, chosen.targets)
            corpus = self._encode_queries(model, device, chosen.corpus)
        elif not self.config.weight_learned:
            positives = self._encode_given(model, device, entity, chosen.targets)
            corpus = self._encode_given(model, device, entity, chosen.corpus)
        else:
            own = np.array(
                [self.data.items.index.find(self.data.queries[row]) for row in chosen.queries]
            )
            own[chosen.seen] = -1
            positives = self._encode_items(model, device, chosen.targets, own)
            nothing = np.full(len(chosen.corpus), -1)
            corpus = self._encode_items(model, device, chosen.corpus, nothing)
        places = np.searchsorted(chosen.corpus, chosen.targets).clip(max=len(chosen.corpus) - 1)
        rows = np.where(chosen.corpus[places] == chosen.targets, places, -1)
        return recall_at(queries, positives, corpus, rows=rows, skip=chosen.others)

    @torch.inference_mode()
    def _encode_queries(
        self, model: OmniModel, device: torch.device, rows: np.ndarray
    ) -> np.ndarray:
        unique, inverse = np.unique(rows, return_inverse=True)
        vectors = np.zeros((len(unique), self.config.dim), dtype=np.float32)
        for chunk in query_chunks([self.pieces[row] for row in unique], self.pad_piece, 512):
            found = model.query(chunk.input_ids.to(device), chunk.mask.to(device))
            vectors[chunk.places.numpy()] = found.cpu().numpy()
        return vectors[inverse]

    @torch.inference_mode()
    def _encode_given(
        self, model: OmniModel, device: torch.device, entity: str, rows: np.ndarray
    ) -> np.ndarray:
        """Pre-existing vectors of the first space, through their compatibility encoder."""
        space = next(space for space in spaces_of(entity) if space in model.compat)
        encoder: Any = model.compat[space]
        found, _ = self.data.items.gather_one(rows, space, encoder.dim_in)
        return encoder(torch.from_numpy(found).to(device)).cpu().numpy()

    @torch.inference_mode()
    def _encode_items(
        self, model: OmniModel, device: torch.device, rows: np.ndarray, own: np.ndarray
    ) -> np.ndarray:
        parts = []
        for start in range(0, len(rows), _ITEMS_AT_ONCE):
            part = rows[start : start + _ITEMS_AT_ONCE]
            strings = visible_strings(self.data.items, part, own[start : start + _ITEMS_AT_ONCE])
            features = self.data.items.gather(part, model.item.feature_dims)
            for chunk in item_chunks(self.data.items, strings, features, 0, backward=False):
                found = model.item(chunk.levels.to(device), chunk.features.to(device))
                parts.append(found.cpu().numpy())
        return np.concatenate(parts)
