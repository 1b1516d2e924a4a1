"""Vector spaces: the learned one, and those of embeddings that were there before (§3.4.3).

This is the one place that says which entity type an older embedding belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace.registry import Registry

LEARNED = "learned"  # pins, products and queries lie in it


@dataclass(frozen=True)
class Space:
    """A compatibility space: the query encoder is trained to find items by it too.

    Attributes:
        name: of the item vectors that span it.
        entity: 'pin' or 'product', whose vectors they are.
    """

    name: str
    entity: str


SPACES = Registry("spaces", (Space("pinsage", "pin"), Space("itemsage", "product")))


def spaces_of(entity: str) -> list[str]:
    """The compatibility spaces of an entity type; the first is what rankers call `compat`."""
    return [space.name for space in SPACES.values() if space.entity == entity]
