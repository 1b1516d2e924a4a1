"""The named systems that one engine can answer as: what they retrieve and how they order it."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.candidates import KINDS


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        kinds: kinds of sources it retrieves from.
        entities: entity types it knows.
        order: what its feed is ordered by: a column of the candidates, 'rrf', 'l1' or 'full'.
        about: one line for people.
    """

    name: str
    kinds: tuple[str, ...]
    entities: tuple[str, ...]
    order: str
    about: str

    @property
    def needs_vector(self) -> bool:
        """Whether the query must be encoded."""
        return self.kinds != ("token",)


_BOTH = ("pin", "product")
SYSTEMS = {
    system.name: system
    for system in (
        System("token", ("token",), _BOTH, "token_score", "BM25 over the items' text"),
        System("embedding", ("learned",), _BOTH, "learned_score", "the learned space"),
        System("pinsage", ("compat",), ("pin",), "compat_score", "pins in the PinSage space"),
        System(
            "itemsage", ("compat",), ("product",), "compat_score", "products in the ItemSage space"
        ),
        System("compat", ("compat",), _BOTH, "compat_score", "both of these spaces"),
        System("rrf", ("token", "learned"), _BOTH, "rrf", "token and embedding, fused by rank"),
        System("l1", KINDS, _BOTH, "l1", "all sources, ordered by L1"),
        System("full", KINDS, _BOTH, "full", "all sources, L1, L2 and the blend"),
    )
}


def system_named(name: str) -> System:
    """The system of that name; raises InputError with the known names."""
    if name not in SYSTEMS:
        raise InputError(
            f"There is no system {name!r}.", where="system", how=f"Use one of {', '.join(SYSTEMS)}."
        )
    return SYSTEMS[name]
