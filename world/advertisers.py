"""Simulated advertisers: who advertises which items of the sample world, when, where and for how
much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import LANGUAGES
from omnisearch.world.population import DAY, END, Population
from omnisearch.world.relevance import ThemeTree
from omnisearch.world.templates import COUNTRIES

ITEMS_EACH = 400  # items of the world for each advertiser
FEWEST = 6  # advertisers
ADVERTISED = (10, 41)  # items of a campaign: from, to (exclusive)
PRODUCTS = 0.7  # share of campaigns that advertise products, the others pins
BID_SPREAD = 0.6  # of the logarithm; the median bid is 1
ENDED, LATER, LOCAL = 0.15, 0.05, 0.2  # shares of campaigns: over, yet to come, for one language
NEXT_CENTURY = 4_102_444_800  # seconds since 1970: 2100


def campaign_records(
    tree: ThemeTree, items: Population, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """The rows of campaigns.jsonl. An advertiser has items of one family, good and bad ones alike:
    a bid knows nothing of an item's quality."""
    product = np.arange(len(items)) >= items.pins
    family = tree.family[items.concept]
    for number in range(max(FEWEST, len(items) // ITEMS_EACH)):
        kind = product if rng.random() < PRODUCTS else ~product
        theme = family[rng.choice(np.flatnonzero(kind))]
        own = np.flatnonzero(kind & (family == theme))
        chosen = np.sort(rng.choice(own, min(len(own), int(rng.integers(*ADVERTISED))), False))
        record: dict[str, Any] = {
            "id": f"advertiser-{number:03d}",
            "bid": round(float(np.exp(rng.normal(0, BID_SPREAD))), 2),
            "start": END - int(rng.integers(0, 300)) * DAY,
            "items": [
                {"entity": "product" if product[row] else "pin", "id": item_id(items, row)}
                for row in chosen.tolist()
            ],
        }
        state = rng.random()
        if state < ENDED:
            record["end"] = END
        elif state < ENDED + LATER:
            record["start"] = NEXT_CENTURY
        if rng.random() < LOCAL:
            language = LANGUAGES[int(rng.integers(len(LANGUAGES)))]
            record |= {"languages": [language], "countries": list(COUNTRIES[language])}
        yield record
