"""Inputs of the graph networks: strings of each modality, and continuous features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlite_utils
import torch
from torch import Tensor

from omnisearch.data.catalogue.items import count, field_texts, read_items
from omnisearch.data.catalogue.schema import table_of
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary, build_vocabulary
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.enrichment.inputs import MODALITIES, graph_hash, graph_identity, hash_rows

FEATURES = ("image", "text")  # continuous features of the catalogue that are read if present
_VOCABULARY = (50_000, 60_000, 20_000)  # maximum unigrams, bigrams, trigrams
_BLOCK = 2048  # items read and embedded at a time


@dataclass(frozen=True)
class Source:
    """The source of items of one entity type.

    Attributes:
        network: 'pinsage' or 'itemsage', which reads its MODALITIES.
        features: name → ItemVectors, those of FEATURES that the catalogue has for the entity, and
            what a network is given that the catalogue does not hold.
    """

    db: sqlite_utils.Database
    entity: str
    network: str
    features: dict[str, ItemVectors]

    @classmethod
    def open(
        cls, workspace: Workspace, db: sqlite_utils.Database, entity: str, network: str
    ) -> Source:
        """With all of FEATURES that exist."""
        found = {name: open_vectors(workspace, db, name, entity) for name in FEATURES}
        return cls(db, entity, network, {k: f for k, f in found.items() if f and len(f.ids)})

    def narrowed(self, dims: Mapping[str, int]) -> Source | None:
        """With only the features of `dims`; None if one is gone or has another size."""
        if any(self.dims.get(name) != dim for name, dim in dims.items()):
            return None
        return replace(self, features={name: self.features[name] for name in dims})

    @property
    def dims(self) -> dict[str, int]:
        return {name: feature.dim for name, feature in self.features.items()}

    @property
    def stored(self) -> dict[str, ItemVectors]:
        """The features that the catalogue holds: by them alone it can tell what is stale."""
        return {name: self.features[name] for name in FEATURES if name in self.features}

    @property
    def modalities(self) -> dict[str, tuple[str, ...]]:
        return MODALITIES[self.network]

    def texts(self, item: dict[str, Any]) -> list[list[str]]:
        """The strings of each modality."""
        return [field_texts(item, fields) for fields in self.modalities.values()]

    def ids(self) -> list[str]:
        """All item ids, ascending."""
        table = table_of(self.entity)
        return [key for (key,) in self.db.conn.execute(f"SELECT id FROM {table} ORDER BY id")]

    def count(self) -> int:
        return count(self.db, self.entity)


@dataclass(frozen=True)
class Batch:
    """n items with m modalities of text and k features, as tensors.

    Attributes:
        levels: the text of n * m rows; row i * m + j is modality j of item i.
        features: name → (n, d) float32, zeros where absent.
        present: (n, k) bool.
    """

    levels: Levels
    features: dict[str, Tensor]
    present: Tensor


class Items:
    """All items of a source in memory, for sampling; strings are tokenised once.

    Attributes:
        ids: ascending; rows are positions in it.
        strings: (n * m) rows of numbers of strings in `index`.
    """

    def __init__(self, source: Source, queries: Iterable[str] = ()) -> None:
        """With a vocabulary from the items' own strings and `queries`."""
        self.source = source
        self.ids: list[str] = []
        self.index = NgramIndex(_vocabulary(source, queries))
        rows: list[list[int]] = []
        for items in read_items(source.db, source.entity):
            for item in items:
                self.ids.append(item["id"])
                rows.extend([self.index.string(t) for t in texts] for texts in source.texts(item))
        self.strings = Ragged.of(rows)
        self._places = {
            name: np.array([feature.index.get(key, -1) for key in self.ids], dtype=np.int64)
            for name, feature in source.features.items()
        }

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: np.ndarray, hidden: np.ndarray | None = None) -> Batch:
        """The items of (n,) rows, in this order.

        Args:
            hidden: (n,) number of a string to remove from each item's last modality, -1 for none.
        """
        m = len(self.source.modalities)
        strings = self.strings.take((rows[:, None] * m + np.arange(m)).ravel())
        if hidden is not None:
            item, modality = np.divmod(strings.row_of, m)
            strings = strings.keep((modality < m - 1) | (strings.flat != hidden[item]))
        features = {name: self._feature(name, rows) for name in self._places}
        present = [places[rows] >= 0 for places in self._places.values()]
        levels = Levels(self.index.bags(strings), backward=True)
        return Batch(levels, features, _present(present, len(rows)))

    def _feature(self, name: str, rows: np.ndarray) -> Tensor:
        feature, places = self.source.features[name], self._places[name][rows]
        found = np.zeros((len(rows), feature.dim), dtype=np.float32)
        found[places >= 0] = feature.vectors[places[places >= 0]]
        return torch.from_numpy(found)


def blocks(
    source: Source, vocabulary: NgramVocabulary
) -> Iterator[tuple[list[str], Batch, list[bytes]]]:
    """All items of a source by id, block by block: ids, their batch, and hashes of their inputs."""
    index, m = NgramIndex(vocabulary), len(source.modalities)
    for items in read_items(source.db, source.entity, batch_size=_BLOCK):
        ids = [item["id"] for item in items]
        bags = index.bags_of(texts for item in items for texts in source.texts(item))
        assert len(bags.levels[0]) == len(ids) * m
        found = {name: feature.rows(ids) for name, feature in source.features.items()}
        features = {name: torch.from_numpy(rows) for name, (rows, _) in found.items()}
        present = _present([there for _, there in found.values()], len(ids))
        hashes = [graph_hash(item, source.network, source.stored) for item in items]
        yield ids, Batch(Levels(bags, backward=False), features, present), hashes


def write_graph(
    workspace: Workspace,
    source: Source,
    ids: list[str],
    vectors: np.ndarray,
    hashes: Sequence[bytes],
) -> ItemVectors:
    """Store the vectors that the current network of a source made, in place of the old ones."""
    return write_vectors(
        workspace,
        source.db,
        source.network,
        source.entity,
        ids,
        vectors,
        replace=True,
        made=hash_rows(hashes),
        made_by=graph_identity(workspace, source.network, source.stored),
    )


def _present(columns: Sequence[np.ndarray], count: int) -> Tensor:
    return torch.from_numpy(np.array(columns, dtype=bool).reshape(len(columns), count).T.copy())


def _vocabulary(source: Source, queries: Iterable[str]) -> NgramVocabulary:
    strings = Counter(
        text
        for items in read_items(source.db, source.entity)
        for item in items
        for texts in source.texts(item)
        for text in texts
    )
    strings.update(queries)
    return build_vocabulary(strings, *_VOCABULARY)


def moments(feature: ItemVectors, most: int = 50_000) -> tuple[Tensor, Tensor]:
    """(d,) mean and (d,) scale of a feature's first rows, float32.

    All dimensions share one scale, so that relative distances are kept.
    """
    rows = np.asarray(feature.vectors[:most], dtype=np.float64)
    scale = np.full(feature.dim, max(float(rows.std(axis=0).mean()), 1e-6))
    return torch.from_numpy(rows.mean(0)).float(), torch.from_numpy(scale).float()
