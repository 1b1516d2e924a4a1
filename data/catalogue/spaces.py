"""Vector spaces: the learned one, and those of pre-existing embeddings (§3.4.3).

Only this file says which entity type a pre-existing embedding belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace.registry import Registry

LEARNED = "learned"  # of pins, products and queries


@dataclass(frozen=True)
class Space:
    """A compatibility space: the query encoder is also trained to find items by it.

    Attributes:
        name: of the item vectors.
        entity: 'pin' or 'product', the type of the items.
    """

    name: str
    entity: str


SPACES = Registry("spaces", (Space("pinsage", "pin"), Space("itemsage", "product")))


def spaces_of(entity: str) -> list[str]:
    """The compatibility spaces of an entity type; rankers call the first one `compat`."""
    return [space.name for space in SPACES.values() if space.entity == entity]
