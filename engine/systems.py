"""The named systems of the engine: what they retrieve and how they order it."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace.registry import Registry


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        label: its name in reports and on pages.
        about: one line on what it does.
        order: how its feed is ordered: 'score' (of its sources), 'rrf', 'l1' or 'full'.
        sources: the names of its sources; None for all.
        evaluated: whether `omnisearch evaluate` measures it by default.
    """

    name: str
    label: str
    about: str
    order: str
    sources: tuple[str, ...] | None = None
    evaluated: bool = True


_TOKEN = ("token_pins", "token_products")
_LEARNED = ("learned_pins", "learned_products")
_PINSAGE, _ITEMSAGE = ("pinsage_pins",), ("itemsage_products",)
SYSTEMS = Registry(
    "systems",
    (
        System("token", "Token", "BM25 over the words of pins and products", "score", _TOKEN),
        System("embedding", "Embedding", "nearest items in the learned space", "score", _LEARNED),
        System("pinsage", "PinSage", "nearest pins in the PinSage space", "score", _PINSAGE),
        System(
            "itemsage", "ItemSage", "nearest products in the ItemSage space", "score", _ITEMSAGE
        ),
        System(
            "compat",
            "Older spaces",
            "both of these spaces",
            "score",
            _PINSAGE + _ITEMSAGE,
            evaluated=False,
        ),
        System("rrf", "Fusion", "token and embedding, fused by rank", "rrf", _TOKEN + _LEARNED),
        System("l1", "L1", "all sources, ordered by the light ranker", "l1"),
        System("full", "Full stack", "all sources, L1, L2 and the blend", "full"),
    ),
)


def evaluated_systems() -> tuple[str, ...]:
    """The systems that an evaluation measures, 'full' last: it is tested against the others."""
    names = [system.name for system in SYSTEMS.values() if system.evaluated]
    return (*(name for name in names if name != "full"), "full")
