"""Chunks of items that are encoded together, and the hiding of their text and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omnisearch.data.catalogue.schema import TEXT_FIELDS
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.encoders.training.dataset import ENGAGED, Items

_LARGEST_RATE = 0.5  # of hiding engaged queries: few items have them, but these are asked for most


@dataclass(frozen=True)
class ItemChunk:
    """Items that are encoded together.

    Attributes:
        number: the chunk's number in the batch.
        places: (n,) int64 positions in the batch's items.
        levels: their text.
        features: (n, F) float32.
    """

    number: int
    places: Tensor
    levels: Levels
    features: Tensor


@dataclass(frozen=True)
class Hiding:
    """The rates and the random generator for hiding text in training.

    Attributes:
        keep_own: how often a pair's own query stays among the item's engaged queries.
        engaged: how often an item is shown without any of them, as if it were new; one rate, or
            (n,) one for each item.
        field: how often any field is hidden.
    """

    keep_own: float
    engaged: float | np.ndarray
    field: float
    generator: np.random.Generator


def rate_of_new(items: Items, config: Config) -> float:
    """How often a positive is shown as if it were new: `hide_engaged`, or the share of new items.

    Every positive was engaged. With this rate engaged queries are as frequent among positives as
    in the catalogue, so that having any does not tell a positive from a random negative.
    """
    if config.hide_engaged >= 0 or not len(items):
        return max(config.hide_engaged, 0.0)
    engaged = np.zeros(len(items), dtype=bool)
    engaged[items.strings.row_of[items.fields == ENGAGED]] = True
    return min(_LARGEST_RATE, float(1 - engaged.mean()))


def visible_strings(
    items: Items, rows: np.ndarray, own: np.ndarray, hiding: Hiding | None = None
) -> Ragged:
    """The strings of item rows, without each row's own query among its engaged queries.

    A new query is not among the engaged queries of the items it should find, so a model trained
    on items that always contain their own query would rely on it. Recurring queries often are
    among them, so `hiding` keeps own queries at a rate. A new item has none at all: it also drops
    fields, and this field at a rate of its own.

    Args:
        own: (n,) int64 string number of each row's own query, -1 for none.
    """
    where, offsets = items.strings.positions(rows)
    strings = Ragged(items.strings.flat[where], offsets)
    fields, row_of = items.fields[where], strings.row_of
    hidden = (fields == ENGAGED) & (strings.flat == own[row_of])
    if hiding is not None:
        hidden &= (hiding.generator.random(len(rows)) >= hiding.keep_own)[row_of]
        rates = np.full((len(rows), len(TEXT_FIELDS)), hiding.field)
        rates[:, ENGAGED] = np.maximum(hiding.field, hiding.engaged)
        dropped = hiding.generator.random(rates.shape) < rates
        hidden |= dropped[row_of, fields]
    return strings.keep(~hidden)


def hidden_features(
    count: int, rates: Mapping[str, float], generator: np.random.Generator
) -> np.ndarray:
    """(features, count) bool: the rows in which each continuous feature is hidden, at its rate."""
    drawn = [generator.random(count) < rate for rate in rates.values()]
    return np.array(drawn, dtype=bool).reshape(len(rates), count)


def hide_features(features: np.ndarray, dims: Mapping[str, int], hidden: np.ndarray) -> None:
    """Zero each continuous feature of `features` (n, sum of dims) in its hidden rows."""
    at = 0
    for rows, dim in zip(hidden, dims.values(), strict=True):
        features[rows, at : at + dim] = 0
        at += dim


def item_chunks(
    items: Items, strings: Ragged, features: np.ndarray, size: int, *, backward: bool = True
) -> list[ItemChunk]:
    """Items in chunks of at most `size` (0: all at once), in order."""
    total = len(strings)
    chunks: list[ItemChunk] = []
    for start in range(0, total, size or max(total, 1)):
        rows = np.arange(start, min(start + (size or total), total))
        bags = items.index.bags(strings.take(rows))
        levels = Levels(bags, backward=backward)
        places = torch.from_numpy(rows)
        chunks.append(ItemChunk(len(chunks), places, levels, torch.from_numpy(features[rows])))
    return chunks
