"""A made-up catalogue in memory with realistic shapes; words follow Zipf's law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from omnisearch.data.catalogue.schema import TEXT_FIELDS
from omnisearch.data.catalogue.spaces import SPACES, spaces_of
from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.ngrams import NgramIndex
from omnisearch.encoders.models.query import QueryEncoder, QueryTokeniser, small_backbone
from omnisearch.encoders.training.batches import BatchStream
from omnisearch.encoders.training.dataset import Items, Pairs, TrainingData, vocabulary_of
from omnisearch.encoders.training.wordpiece import train_wordpiece

DIMS = {"image": 1024, "itemsage": 256, "pinsage": 256}
WORDS = 60_000
OWN, SHARED = 4, 8  # strings per item: title and the like; board titles and engaged queries
MULTILINGUAL = 119_547  # word pieces of distilbert-base-multilingual-cased
Texts = dict[str, list[tuple[str, list[tuple[int, str]]]]]


@dataclass(frozen=True)
class Synthetic:
    """A catalogue, a model of the config's shape with random weights, and batches.

    Attributes:
        texts: entity → [(item id, [(field, string), ..]), ..].
        queries: the query texts.
    """

    texts: Texts
    data: TrainingData
    model: OmniModel
    tokeniser: QueryTokeniser
    stream: BatchStream


class Words:
    """Strings of made-up words."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        letters = self.random.integers(97, 123, (WORDS, 9), dtype=np.uint8)
        lengths = self.random.integers(2, 10, WORDS)
        self.known = [
            bytes(row[:length]).decode() for row, length in zip(letters, lengths, strict=True)
        ]

    def string(self, least: int, most: int) -> str:
        ranks = self.random.zipf(1.2, self.random.integers(least, most + 1))
        return " ".join(self.known[rank % WORDS] for rank in ranks)


def synthetic(config: Config, items: int, seed: int = 0) -> Synthetic:
    """Half pins, half products; four pairs per item and half as many queries as items."""
    words = Words(seed)
    queries = sorted({words.string(1, 5) for _ in range(items // 2)})
    texts = {entity: _texts(words, entity, items // 2) for entity in ("pin", "product")}
    features = {
        entity: {
            name: ItemVectors(name, entity, [key for key, _ in entries], _unit(words, entries, dim))
            for name, dim in DIMS.items()
            if name in ("image", *spaces_of(entity))
        }
        for entity, entries in texts.items()
    }
    vocabulary = vocabulary_of(texts, (config.unigrams, config.bigrams, config.trigrams))
    rows = Items(texts, features, NgramIndex(vocabulary, 2**62, 2**62))
    pairs = {
        name: Pairs(
            entity,
            words.random.integers(0, len(queries), 4 * items),
            words.random.integers(*(rows.span.get(entity) or (0, len(queries))), 4 * items),
        )
        for name, entity in (
            ("pin", "pin"),
            ("product", "product"),
            ("offsite", "product"),
            ("query", "query"),
        )
    }
    query_row = {text: row for row, text in enumerate(queries)}
    data = TrainingData(rows, queries, query_row, np.arange(len(queries)), pairs)
    tokeniser = QueryTokeniser(train_wordpiece(queries, config.wordpieces), config.max_query_tokens)
    model = _model(config, data, len(vocabulary), len(tokeniser.hub_tokeniser))
    pieces = tokeniser(queries)
    # Nothing is hidden, so that the plain implementation reads the same texts.
    stream = BatchStream(data, config, pieces, tokeniser.pad, model.item.feature_dims, 1.0)
    return Synthetic(texts, data, model, tokeniser, stream)


def _texts(words: Words, entity: str, count: int) -> list[tuple[str, list[tuple[int, str]]]]:
    known = [words.string(1, 5) for _ in range(count)]
    entries = []
    for number in range(count):
        strings = [words.string(2, 8) for _ in range(OWN)]
        strings += [known[rank % count] for rank in words.random.zipf(1.2, SHARED)]
        fields = [(at % len(TEXT_FIELDS), text) for at, text in enumerate(strings)]
        entries.append((f"{entity}{number:08d}", fields))
    return entries


def _unit(words: Words, entries: list, dim: int) -> np.ndarray:
    rows = words.random.standard_normal((len(entries), dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _model(config: Config, data: TrainingData, vocabulary: int, pieces: int) -> OmniModel:
    torch.manual_seed(config.seed)
    tasks = [
        f"{name}/{space}" for name, pairs in data.pairs.items() for space in spaces_of(pairs.entity)
    ]
    backbone = small_backbone(config, MULTILINGUAL if config.backbone else pieces)
    return OmniModel(
        config,
        QueryEncoder(backbone, config.pooling or "cls", config.dim),
        ItemEncoder(config, vocabulary, DIMS),
        {space: DIMS[space] for space in SPACES},
        [*data.pairs, *tasks],
    )
