"""Campaigns: which items are advertised, for how much, when, where and to whom (§5.3).

They are one file, `ads/campaigns.jsonl`, beside the catalogue and apart from every index: an engine
that follows it has a new campaign at once, and an ended one is gone at its second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf

import orjson

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.reading import load_lines, reading
from omnisearch.data.workspace.sealed import Sealed

CAMPAIGNS = Sealed(
    "The campaigns", 1, "Put back a copy of the file, or remove it and import them again."
)
_LATEST = 10**11  # seconds since 1970
_STORED = {
    "id": str,
    "bid": float,
    "items": [[str]],
    "start": (int, type(None)),
    "end": (int, type(None)),
    "countries": [str],
    "languages": [str],
}


@dataclass(frozen=True)
class Campaign:
    """One campaign.

    Attributes:
        bid: what a long click is worth to the advertiser, above 0, in the shop's own unit.
        items: (entity, id) pairs, each once.
        start, end: seconds since 1970; it runs from `start` on and before `end`. None: always.
        countries: upper case, of users; languages: as `language.primary`, of queries. Empty: all.
    """

    id: str
    bid: float
    items: tuple[tuple[str, str], ...]
    start: int | None = None
    end: int | None = None
    countries: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()

    def runs(self, now: float) -> bool:
        """Whether its time is now."""
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


def load_campaigns(workspace: Workspace) -> dict[str, Campaign]:
    """All campaigns by their ids, also those that have ended; empty if none were imported.

    Raises Corrupt if the file was damaged.
    """
    content = CAMPAIGNS.read(workspace.campaigns)
    if content is None:
        return {}
    with reading(CAMPAIGNS.what, workspace.campaigns, CAMPAIGNS.again):
        found = map(_campaign, load_lines(content, _STORED))
        return {campaign.id: campaign for campaign in found}


def save_campaigns(workspace: Workspace, campaigns: Mapping[str, Campaign]) -> None:
    """Replace all campaigns; engines follow by themselves."""
    workspace.ads.mkdir(exist_ok=True)
    CAMPAIGNS.write(workspace.campaigns, b"".join(_lines(campaigns.values())))


def _lines(campaigns: Iterable[Campaign]) -> Iterable[bytes]:
    for campaign in sorted(campaigns, key=lambda each: each.id):
        yield orjson.dumps(asdict(campaign), option=orjson.OPT_APPEND_NEWLINE)


def _campaign(values: dict) -> Campaign:
    """The campaign of a line; raises ValueError for what no import writes."""
    items = tuple((entity, key) for entity, key in values["items"])
    if not all(entity in ITEM_ENTITIES for entity, _ in items):
        raise ValueError("an item is neither a pin nor a product")
    if not 0 < values["bid"] < inf:
        raise ValueError("a bid is not above 0")
    times = [at for name in ("start", "end") if (at := values[name]) is not None]
    if not all(0 <= at < _LATEST for at in times):
        raise ValueError("a start or an end is out of range")
    lists = {name: tuple(values[name]) for name in ("countries", "languages")}
    return Campaign(**{name: values[name] for name in _STORED} | {"items": items} | lists)
