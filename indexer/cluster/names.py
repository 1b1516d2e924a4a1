"""The collections of a build, and the fields of their points.

Each entity type has a collection; a point's id is the item's place in the segment's table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from omnisearch.data.text.normalise import normalise
from omnisearch.indexer.parts.attributes import Column

WORDS = "words"  # the sparse vectors of BM25
# Payload fields by which searches are filtered. Of what an item lacks, its point has none.
LANGUAGE, COUNTRY, BRAND = "language", "country", "brand"  # normalised; a list of `within`, texts
PRICE, IS_AD, BOARDS = "price", "is_ad", "boards"  # a float, a bool, a list of `signed` keys

# In the metadata of collections: whose they are, as the manifest of the build says too; and, once
# they are complete, the sha256 of that manifest, and the recall that was measured.
OWNER, MANIFEST, RECALL = "workspace", "manifest", "recall"


def collection(name: str, number: int, entity: str) -> str:
    """The collection of an entity type, of the build with that number."""
    return f"{name}_{number}_{entity}"


def within(code: str) -> list[str]:
    """A language's code and those that it is inside of: en-us is inside en."""
    steps = normalise(code).split("-")
    return ["-".join(steps[:end]) for end in range(1, len(steps) + 1)]


def signed(key: int) -> int:
    """A 64-bit key as the integer that a payload can hold."""
    return key - 2**64 if key >= 2**63 else key


def code_fields(attributes: Mapping[str, Column]) -> dict[str, str]:
    """Attribute → the field with the codes, positions in the column's values, that an item has."""
    return {name: f"a{at}" for at, name in enumerate(sorted(attributes))}


def number_fields(attributes: Mapping[str, Column]) -> dict[str, str]:
    """Attribute → the field with an item's values as numbers, where any value is a number."""
    return {
        name: f"n{at}"
        for at, name in enumerate(sorted(attributes))
        if not np.isnan(attributes[name].numbers).all()
    }


def number_of(name: str, collections: Iterable[str]) -> dict[str, int]:
    """Those of the collections that belong to this name → the number of their build."""
    found = {}
    for each in collections:
        own, _, rest = each.partition(f"{name}_")
        number, _, entity = rest.partition("_")
        if (
            not own
            and entity
            and number.isdecimal()
            and collection(name, int(number), entity) == each
        ):
            found[each] = int(number)
    return found
