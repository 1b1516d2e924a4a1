"""The catalogue as training data: tokenised items and queries, pairs as row numbers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.items import count, field_texts, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, TEXT_FIELDS
from omnisearch.data.catalogue.splits import training_may_see
from omnisearch.data.catalogue.vectors import ItemVectors, open_all_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary, build_vocabulary
from omnisearch.encoders.models.ragged import Ragged

ENGAGED = TEXT_FIELDS.index("engaged_queries")


@dataclass(frozen=True)
class Pairs:
    """The pairs of one data set.

    Attributes:
        entity: 'pin', 'product' or 'query'.
        queries: (n,) int64 query rows.
        targets: (n,) int64 item rows, or query rows if the entity is 'query'.
    """

    entity: str
    queries: np.ndarray
    targets: np.ndarray


class Items:
    """All pins, then all products, one row each.

    Attributes:
        ids: entity → item ids in row order, starting at `span[entity][0]`.
        span: entity → its rows [start, stop).
        strings: item → its string numbers in `index`.
        fields: (nnz,) uint8, the text field of each entry of `strings`.
        features: entity → name → ItemVectors.
    """

    def __init__(
        self,
        texts: dict[str, list[tuple[str, list[tuple[int, str]]]]],
        features: dict[str, dict[str, ItemVectors]],
        index: NgramIndex,
    ) -> None:
        self.index = index
        self.features = features
        self.ids: dict[str, list[str]] = {}
        self.span: dict[str, tuple[int, int]] = {}
        rows: list[list[int]] = []
        fields: list[int] = []
        for entity, entries in texts.items():
            self.ids[entity] = [key for key, _ in entries]
            self.span[entity] = (len(rows), len(rows) + len(entries))
            for _, strings in entries:
                rows.append([index.string(text) for _, text in strings])
                fields.extend(field for field, _ in strings)
        self.strings = Ragged.of(rows)
        self.fields = np.array(fields, dtype=np.uint8)
        self.row_of = {
            entity: {key: start + at for at, key in enumerate(self.ids[entity])}
            for entity, (start, _) in self.span.items()
        }
        self._places = {
            (entity, name): np.array(
                [feature.index.get(key, -1) for key in self.ids[entity]], dtype=np.int64
            )
            for entity, named in features.items()
            for name, feature in named.items()
        }

    def __len__(self) -> int:
        return len(self.strings)

    def gather(self, rows: np.ndarray, feature_dims: Mapping[str, int]) -> np.ndarray:
        """(n, sum of dims) float32 continuous features of item rows, zeros where absent."""
        parts = [self.gather_one(rows, name, dim)[0] for name, dim in feature_dims.items()]
        return np.concatenate([np.zeros((len(rows), 0), dtype=np.float32), *parts], axis=1)

    def gather_one(self, rows: np.ndarray, name: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, dim) float32 values of one feature, and (n,) bool: which rows have it."""
        found = np.zeros((len(rows), dim), dtype=np.float32)
        present = np.zeros(len(rows), dtype=bool)
        for entity, (start, stop) in self.span.items():
            feature = self.features[entity].get(name)
            if feature is None:
                continue
            here = np.flatnonzero((rows >= start) & (rows < stop))
            places = self._places[entity, name][rows[here] - start]
            here, places = here[places >= 0], places[places >= 0]
            found[here] = feature.vectors[places]
            present[here] = True
        return found, present


@dataclass(frozen=True)
class TrainingData:
    """All inputs of batches.

    Attributes:
        queries: all query texts, of the catalogue and of the pairs.
        catalogue_queries: (n,) int64 rows of the queries sampled as random negatives.
        pairs: data set → its pairs; empty data sets are left out.
    """

    items: Items
    queries: list[str]
    query_row: dict[str, int]
    catalogue_queries: np.ndarray
    pairs: dict[str, Pairs]

    def fingerprint(self) -> str:
        """A hash of pairs, item texts and features, which must be equal on resuming."""
        digest = hashlib.sha256()
        for entity, ids in self.items.ids.items():
            digest.update("\n".join((entity, *ids)).encode("utf-8", "surrogatepass"))
            for name, feature in self.items.features[entity].items():
                digest.update(f"{name} {feature.vectors.shape} {feature.made_by}".encode())
        digest.update(self.items.strings.flat.tobytes())
        digest.update(self.items.strings.offsets.tobytes())
        digest.update("\n".join(self.queries).encode("utf-8", "surrogatepass"))
        for name, pairs in self.pairs.items():
            digest.update(name.encode() + pairs.queries.tobytes() + pairs.targets.tobytes())
        return digest.hexdigest()[:16]


def read_texts(
    db: sqlite_utils.Database, progress: Progress | None = None
) -> dict[str, list[tuple[str, list[tuple[int, str]]]]]:
    """entity → [(item id, [(field, string), ..]), ..], ordered by id."""
    total, done = sum(count(db, entity) for entity in ITEM_ENTITIES), 0
    texts: dict[str, list[tuple[str, list[tuple[int, str]]]]] = {}
    for entity in ITEM_ENTITIES:
        entries = texts[entity] = []
        for batch in read_items(db, entity):
            for item in batch:
                strings = [
                    (number, text)
                    for number, field in enumerate(TEXT_FIELDS)
                    for text in field_texts(item, (field,))
                ]
                entries.append((item["id"], strings))
            done += len(batch)
            if progress:
                progress(done, total)
    return texts


def vocabulary_of(
    texts: dict[str, list[tuple[str, list[tuple[int, str]]]]], sizes: tuple[int, int, int]
) -> NgramVocabulary:
    """The n-gram vocabulary of all items' texts."""
    strings = Counter(text for entries in texts.values() for _, item in entries for _, text in item)
    return build_vocabulary(strings, *sizes)


def all_features(
    workspace: Workspace, db: sqlite_utils.Database
) -> dict[str, dict[str, ItemVectors]]:
    """entity → name → continuous feature."""
    return {entity: open_all_vectors(workspace, db, entity) for entity in ITEM_ENTITIES}


def training_data(
    db: sqlite_utils.Database, items: Items, tables: Mapping[str, pa.Table]
) -> TrainingData:
    """Assign row numbers to queries and pairs; pairs with unknown items are left out."""
    ours = f"SELECT id FROM queries WHERE {training_may_see('id')} ORDER BY id"
    queries = [row[0] for row in db.conn.execute(ours)]
    query_row = {text: row for row, text in enumerate(queries)}
    catalogue = np.arange(len(queries))
    columns = {
        name: (table["entity"][0].as_py(), table["query"].to_pylist(), table["item_id"].to_pylist())
        for name, table in tables.items()
        if table.num_rows
    }
    for entity, sources, targets in columns.values():
        _number(sources, queries, query_row)
        if entity == "query":
            _number(targets, queries, query_row)
    pairs = {}
    for name, (entity, sources, targets) in columns.items():
        rows = query_row if entity == "query" else items.row_of[entity]
        kept = [
            (query_row[query], rows[target])
            for query, target in zip(sources, targets, strict=True)
            if target in rows
        ]
        if kept:
            query_rows, target_rows = np.array(kept, dtype=np.int64).T
            pairs[name] = Pairs(entity, query_rows.copy(), target_rows.copy())
    return TrainingData(items, queries, query_row, catalogue, pairs)


def _number(texts: Sequence[str], queries: list[str], query_row: dict[str, int]) -> None:
    for text in texts:
        if query_row.setdefault(text, len(queries)) == len(queries):
            queries.append(text)
