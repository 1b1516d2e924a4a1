"""Validation while training: Recall@10 on pairs from the last week of the training period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlite_utils
import torch

from data.pairs import DAY, Split, evaluation_pairs
from encoders.batches import item_chunks, query_chunks, visible_strings
from encoders.config import Config
from encoders.dataset import TrainingData
from encoders.model import OmniModel
from encoders.retrieval_eval import recall_at

_DAYS = 7
_LARGEST_SHARE = 0.1  # of the training pairs
_ITEMS_AT_ONCE = 2048


def carve(
    db: sqlite_utils.Database, split: Split, tables: dict[str, pa.Table], config: Config
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Take validation pairs out of the training pairs.

    They are drawn from the last 7 days before `split.train_until`, at most `valid_pairs` an
    entity type and at most a tenth of its training pairs.

    Returns:
        What is left of `tables`, and entity → validation pairs.
    """
    window = Split(split.train_until, split.train_until - _DAYS * DAY, split.train_until)
    found = evaluation_pairs(db, window, seed=config.seed, sample=config.valid_pairs)
    held: dict[str, pa.Table] = {}
    for entity in ("pin", "product", "query"):
        parts = [table for key, table in found.items() if key.startswith(f"{entity}/")]
        trainable = {
            pair
            for table in tables.values()
            if table.num_rows and table["entity"][0].as_py() == entity
            for pair in zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
        }
        most = min(config.valid_pairs, int(_LARGEST_SHARE * len(trainable)))
        chosen = _distinct(parts, trainable, most)
        if chosen:
            held[entity] = chosen
    left = {}
    for name, table in tables.items():
        if not table.num_rows:
            continue
        taken = held.get(table["entity"][0].as_py(), set())
        keep = [
            pair not in taken
            for pair in zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
        ]
        left[name] = table.filter(pa.array(keep))
    valid = {
        entity: pa.table(
            {
                "query": [query for query, _ in sorted(chosen)],
                "entity": [entity] * len(chosen),
                "item_id": [item for _, item in sorted(chosen)],
            }
        )
        for entity, chosen in held.items()
    }
    return left, valid


def _distinct(
    parts: list[pa.Table], trainable: set[tuple[str, str]], most: int
) -> set[tuple[str, str]]:
    """At most `most` pairs, in turn from each table, that training would else have seen."""
    columns = [
        list(zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True))
        for table in parts
    ]
    chosen: set[tuple[str, str]] = set()
    for place in range(max((len(column) for column in columns), default=0)):
        for column in columns:
            if len(chosen) < most and place < len(column) and column[place] in trainable:
                chosen.add(column[place])
    return chosen


@dataclass(frozen=True)
class ValidationSet:
    """Pairs of one entity type and a random corpus, by catalogue rows.

    Attributes:
        queries, targets: (n,) int64 rows of each pair.
        corpus: (m,) int64 rows, rising.
    """

    queries: np.ndarray
    targets: np.ndarray
    corpus: np.ndarray


class Validator:
    """Measures Recall@10 of each entity type.

    A pair's positive is encoded without the pair's own query among its engaged queries, as in
    training: the bags of the catalogue have seen the validation week.
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
        for number, (entity, table) in enumerate(valid.items()):
            rows = data.query_row if entity == "query" else data.items.row_of[entity]
            pairs = [
                (data.query_row[query], rows[target])
                for query, target in zip(
                    table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True
                )
                if query in data.query_row and target in rows
            ]
            if not pairs:
                continue
            queries, targets = np.array(pairs, dtype=np.int64).T
            pool = data.catalogue_queries
            if entity != "query":
                pool = np.arange(*data.items.span[entity])
            generator = np.random.default_rng([config.seed, 5, number])
            size = min(config.valid_corpus, len(pool))
            corpus = np.sort(generator.choice(pool, size=size, replace=False))
            self.sets[entity] = ValidationSet(queries, targets, corpus)

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
        else:
            own = np.array(
                [self.data.items.index.find(self.data.queries[row]) for row in chosen.queries]
            )
            positives = self._encode_items(model, device, chosen.targets, own)
            nothing = np.full(len(chosen.corpus), -1)
            corpus = self._encode_items(model, device, chosen.corpus, nothing)
        places = np.searchsorted(chosen.corpus, chosen.targets).clip(max=len(chosen.corpus) - 1)
        rows = np.where(chosen.corpus[places] == chosen.targets, places, -1)
        return recall_at(queries, positives, corpus, rows=rows)

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
