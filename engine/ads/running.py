"""Campaigns over the items of one generation, and which of their ads may be shown now."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from omnisearch.data.catalogue.campaigns import Campaign
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.language import primary
from omnisearch.engine.ads.ad_index import AdIndex
from omnisearch.engine.index import Items

_MOST = 256  # pairs of a country and a language whose ads are kept in memory


@dataclass(frozen=True)
class Running:
    """The ads that may be shown in one country and language, each item once.

    Attributes:
        index: of all advertised items. at: int64 (n,), ascending, those of it that run.
        items: the same, in (entity, row) order. bids: float64 (n,), the highest of the item's
            campaigns. campaigns: the ids of the campaigns whose bids these are, (n,).
    """

    index: AdIndex
    at: np.ndarray
    items: Items
    bids: np.ndarray
    campaigns: list[str]

    def places(self, items: Items) -> np.ndarray:
        """int64 (m,): where each of these items is here; -1 for none that is."""
        ours, theirs = self._keys, _keys(items)
        at = np.minimum(np.searchsorted(ours, theirs), max(len(ours) - 1, 0))
        if not len(ours):
            return np.full(len(theirs), -1)
        return np.where(ours[at] == theirs, at, -1)

    @cached_property
    def _keys(self) -> np.ndarray:
        return _keys(self.items)


class AdsOfItems:
    """All campaigns, bound to the tables of a generation. Safe for several threads.

    Attributes:
        index: the advertised items.
        missing: each campaign that names items which the generation does not have, and how many.
    """

    def __init__(self, campaigns: Iterable[Campaign], generation: Any) -> None:
        """`generation`: an `indexer.generation.Generation`."""
        # The highest bid first: where campaigns share an item, it is its first.
        self._campaigns = sorted(campaigns, key=lambda each: (-each.bid, each.id))
        self.missing: dict[str, int] = {}
        entity, row, owner = [], [], []
        for number, campaign in enumerate(self._campaigns):
            for kind, key in campaign.items:
                at = (
                    generation.tables[kind].row_of.get(key, -1) if kind in generation.tables else -1
                )
                if at < 0:
                    self.missing[campaign.id] = self.missing.get(campaign.id, 0) + 1
                    continue
                entity.append(ITEM_ENTITIES.index(kind))
                row.append(at)
                owner.append(number)
        order = np.lexsort((owner, row, entity))
        pairs = Items(np.array(entity, np.uint8)[order], np.array(row, np.int64)[order])
        self._owner = np.array(owner, np.int64)[order]
        first = np.diff(_keys(pairs), prepend=-1) > 0  # of each item
        self._at = np.cumsum(first) - 1
        self.index = AdIndex(Items(pairs.entity[first], pairs.row[first]), generation)
        self._countries = {code for each in self._campaigns for code in each.countries}
        self._languages = {code for each in self._campaigns for code in each.languages}
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Running | None] = {}
        self._from, self._until = math.inf, -math.inf  # when what is known is true

    def running(self, now: float, country: str | None, language: str | None) -> Running | None:
        """What may be shown to a user in a country who asks in a language; None if nothing may.

        Campaigns that name countries or languages are only for users of whom these are known.

        Args:
            now: seconds since 1970. language: of the query.
        """
        here = (country or "").strip().upper()
        spoken = primary(language) if language else ""
        # What no campaign names is one case, so that requests cannot fill the memory.
        key = (here if here in self._countries else "", spoken if spoken in self._languages else "")
        with self._lock:
            if not self._from <= now < self._until:
                self._known, (self._from, self._until) = {}, self._edges(now)
            if key in self._known:
                return self._known[key]
        found = self._found(now, *key)
        with self._lock:
            if self._from <= now < self._until and len(self._known) < _MOST:
                self._known[key] = found
        return found

    def _edges(self, now: float) -> tuple[float, float]:
        """The last start or end of a campaign up to now, and the next."""
        edges = [at for each in self._campaigns for at in (each.start, each.end) if at is not None]
        last = max((at for at in edges if at <= now), default=-math.inf)
        return last, min((at for at in edges if at > now), default=math.inf)

    def _found(self, now: float, country: str, language: str) -> Running | None:
        runs = [
            each.runs(now)
            and (not each.countries or country in each.countries)
            and (not each.languages or language in each.languages)
            for each in self._campaigns
        ]
        kept = np.flatnonzero(np.array(runs, bool)[self._owner])
        kept = kept[np.diff(self._at[kept], prepend=-1) > 0]
        if not len(kept):
            return None
        owners = [self._campaigns[number] for number in self._owner[kept].tolist()]
        at, every = self._at[kept], self.index.items
        return Running(
            self.index,
            at,
            Items(every.entity[at], every.row[at]),
            np.array([each.bid for each in owners]),
            [each.id for each in owners],
        )


def _keys(items: Items) -> np.ndarray:
    """int64 (n,): one number for each item, ascending in (entity, row) order."""
    return (items.entity.astype(np.int64) << 48) + items.row
