"""Batches that mix the tasks (§3.5), each a function of only the seed and the step.

No generator state is kept between steps, so a resumed training gets exactly the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from omnisearch.encoders.config import Config
from omnisearch.encoders.models.query import QueryChunk, query_chunks
from omnisearch.encoders.training.chunks import (
    Hiding,
    ItemChunk,
    hidden_features,
    hide_features,
    item_chunks,
    rate_of_new,
    visible_strings,
)
from omnisearch.encoders.training.dataset import TrainingData
from omnisearch.encoders.training.parallel import ALONE, Group

_ORDER, _NEGATIVES, _DROPOUT = 1, 2, 3  # purposes of the random streams


MOST_PASSES = 10  # over one data set after a warm start, so that a short log is not memorised


@dataclass(frozen=True)
class Part:
    """The pairs of one data set in a batch.

    Attributes:
        query_rows, target_rows: (b,) int64 rows in the catalogue; counted for logQ.
        queries: (b,) int64 positions in the batch's query vectors.
        targets: (b,) int64 positions in the batch's item vectors (query vectors for queries).
        negative_rows, negatives: (m,) int64, the same for the random negatives.
        log_random: log P(n) of a random negative; they are sampled uniformly.
    """

    dataset: str
    entity: str
    query_rows: np.ndarray
    target_rows: np.ndarray
    queries: np.ndarray
    targets: np.ndarray
    negative_rows: np.ndarray
    negatives: np.ndarray
    log_random: float


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        item_rows: (n,) int64 catalogue rows of the batch's items.
        item_chunks, query_chunks: the chunks that this process encodes.
    """

    step: int
    parts: list[Part]
    item_rows: np.ndarray
    item_chunks: list[ItemChunk]
    query_count: int
    query_chunks: list[QueryChunk]

    @property
    def pairs(self) -> int:
        return sum(len(part.queries) for part in self.parts)


def pinned(batch: Batch) -> Batch:
    """The batch with its large tensors in pinned memory."""
    items = [
        replace(chunk, levels=chunk.levels.pinned(), features=chunk.features.pin_memory())
        for chunk in batch.item_chunks
    ]
    queries = [
        replace(chunk, input_ids=chunk.input_ids.pin_memory(), mask=chunk.mask.pin_memory())
        for chunk in batch.query_chunks
    ]
    return replace(batch, item_chunks=items, query_chunks=queries)


def composition(shares: dict[str, float], batch_pairs: int) -> dict[str, int]:
    """The number of pairs per data set in a batch: proportional to its share, at least one.

    Data sets with a share of 0 are left out.
    """
    shares = {name: share for name, share in shares.items() if share > 0}
    total = sum(shares.values())
    return {name: max(1, round(batch_pairs * share / total)) for name, share in shares.items()}


class BatchStream:
    """Makes the batch of any step.

    Args:
        pieces: word piece ids of every query of `data.queries`.
        feature_dims: the item encoder's continuous features.
        recurrence: the share of engaged pairs that had been engaged before.
        group: the processes that share each batch.
    """

    def __init__(
        self,
        data: TrainingData,
        config: Config,
        pieces: list[list[int]],
        pad_piece: int,
        feature_dims: dict[str, int],
        recurrence: float = 0.0,
        group: Group = ALONE,
    ) -> None:
        self.data, self.config, self.group = data, config, group
        self.keep_own = config.keep_own_query if config.keep_own_query >= 0 else recurrence
        self.as_new = rate_of_new(data.items, config)
        self.pieces, self.pad_piece = pieces, pad_piece
        self.feature_dims = feature_dims
        shares = {name: share for name, share in config.mix.items() if name in data.pairs}
        self.counts = composition(shares, config.batch_pairs)
        if config.warm_steps:
            for name, wanted in self.counts.items():
                most = MOST_PASSES * len(data.pairs[name].queries) // config.steps
                self.counts[name] = min(wanted, max(1, most))
        self.own_string = np.array([data.items.index.find(text) for text in data.queries])
        self._orders: dict[str, tuple[int, np.ndarray]] = {}

    def batch(self, step: int) -> Batch:
        """The batch of a step; every call returns the same one."""
        drawn = {name: self._draw(number, name, step) for number, name in enumerate(self.counts)}
        negatives = {
            entity: self._negatives(entity, step)
            for entity in sorted({self.data.pairs[name].entity for name in self.counts})
        }
        item_rows, own, places, negative_places = self._place_items(drawn, negatives)
        query_rows = [self.data.pairs[name].queries[rows] for name, rows in drawn.items()]
        for name, rows in drawn.items():
            if self.data.pairs[name].entity == "query":
                query_rows.append(self.data.pairs[name].targets[rows])
        if "query" in negatives:
            query_rows.append(negatives["query"])
        unique = np.unique(np.concatenate(query_rows))
        parts = []
        for name, rows in drawn.items():
            pairs = self.data.pairs[name]
            queries, targets = pairs.queries[rows], pairs.targets[rows]
            random = negatives[pairs.entity]
            of_query = pairs.entity == "query"
            parts.append(
                Part(
                    name,
                    pairs.entity,
                    queries,
                    targets,
                    np.searchsorted(unique, queries),
                    np.searchsorted(unique, targets) if of_query else places[name],
                    random,
                    np.searchsorted(unique, random) if of_query else negative_places[pairs.entity],
                    -float(np.log(self._population(pairs.entity))),
                )
            )
        return Batch(
            step,
            parts,
            item_rows,
            self._item_chunks(step, item_rows, own, sum(map(len, places.values()))),
            len(unique),
            self._query_chunks(unique),
        )

    def _draw(self, number: int, name: str, step: int) -> np.ndarray:
        """Rows of a data set's pairs, reshuffled in each pass over it."""
        size, wanted = len(self.data.pairs[name].queries), self.counts[name]
        places = np.arange(step * wanted, (step + 1) * wanted)
        passes = places // size
        rows = np.empty(wanted, dtype=np.int64)
        for turn in np.unique(passes):
            if self._orders.get(name, (-1,))[0] != turn:
                generator = np.random.default_rng([self.config.seed, _ORDER, number, int(turn)])
                self._orders[name] = (int(turn), generator.permutation(size))
            here = passes == turn
            rows[here] = self._orders[name][1][places[here] % size]
        return rows

    def _population(self, entity: str) -> int:
        if entity == "query":
            return max(len(self.data.catalogue_queries), 1)
        start, stop = self.data.items.span[entity]
        return stop - start

    def _negatives(self, entity: str, step: int) -> np.ndarray:
        """Uniform random rows of one entity type, for all of its data sets."""
        pairs = sum(n for name, n in self.counts.items() if self.data.pairs[name].entity == entity)
        wanted = round(pairs * self.config.negatives_per_pair)
        number = ("pin", "product", "query").index(entity)
        generator = np.random.default_rng([self.config.seed, _NEGATIVES, number, step])
        if entity == "query":
            pool = self.data.catalogue_queries
            return pool[generator.integers(len(pool), size=wanted if len(pool) else 0)]
        start, stop = self.data.items.span[entity]
        return generator.integers(start, stop, size=wanted)

    def _place_items(
        self, drawn: dict[str, np.ndarray], negatives: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Concatenate positives and negatives.

        Returns item rows, the string number of each row's own query (-1 for negatives), and the
        positions of each data set's positives and of each entity's negatives.
        """
        rows, own, at = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        places, negative_places = {}, {}
        for name, chosen in drawn.items():
            pairs = self.data.pairs[name]
            if pairs.entity == "query":
                continue
            rows.append(pairs.targets[chosen])
            own.append(self.own_string[pairs.queries[chosen]])
            places[name] = np.arange(at, at + len(chosen))
            at += len(chosen)
        for entity, random in negatives.items():
            if entity == "query":
                continue
            rows.append(random)
            own.append(np.full(len(random), -1))
            negative_places[entity] = np.arange(at, at + len(random))
            at += len(random)
        return np.concatenate(rows), np.concatenate(own), places, negative_places

    def _item_chunks(
        self, step: int, rows: np.ndarray, own: np.ndarray, positives: int
    ) -> list[ItemChunk]:
        """The first `positives` rows are those of pairs, the others random negatives."""
        if not self.config.weight_learned:
            return []
        generator = np.random.default_rng([self.config.seed, _DROPOUT, step])
        as_new = np.where(np.arange(len(rows)) < positives, self.as_new, 0.0)
        hiding = Hiding(self.keep_own, as_new, self.config.field_dropout, generator)
        strings = visible_strings(self.data.items, rows, own, hiding)
        rates = dict.fromkeys(self.feature_dims, self.config.feature_dropout)
        hidden = hidden_features(len(rows), rates, generator)
        size = self.group.chunk_size(len(rows), self.config.chunk_items)
        mine = self.group.places(len(rows), size)
        features = self.data.items.gather(rows[mine], self.feature_dims)
        hide_features(features, self.feature_dims, hidden[:, mine])
        chunks = item_chunks(self.data.items, strings.take(mine), features, size)
        first, apart = self.group.rank, self.group.size
        return [
            replace(chunk, number=first + at * apart, places=torch.from_numpy(mine)[chunk.places])
            for at, chunk in enumerate(chunks)
        ]

    def _query_chunks(self, rows: np.ndarray) -> list[QueryChunk]:
        size = self.group.chunk_size(len(rows), self.config.chunk_queries)
        chunks = query_chunks([self.pieces[row] for row in rows], self.pad_piece, size)
        return chunks[self.group.rank :: self.group.size]
