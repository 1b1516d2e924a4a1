"""Sizes of sample worlds."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace.errors import InputError


@dataclass(frozen=True)
class Size:
    """The size of a world, set by its number of pins; everything else is in proportion.

    Traffic grows more slowly than the catalogue (power 0.85), as the long tail grows.

    Raises:
        InputError: fewer than one pin.
    """

    pins: int

    def __post_init__(self) -> None:
        if self.pins < 1:
            raise InputError(f"A world needs at least one pin, not {self.pins}.", where="--pins")

    @property
    def products(self) -> int:
        return max(1, self.pins // 4)

    @property
    def items(self) -> int:
        return self.pins + self.products

    @property
    def boards(self) -> int:
        return max(4, self.items // 6)

    @property
    def sessions(self) -> int:
        """Search sessions in the log; 60,000 for 25,000 items."""
        return max(60, round(60_000 * (self.items / 25_000) ** 0.85))

    @property
    def queries(self) -> int:
        """Phrasings sampled for the query pool; somewhat fewer are distinct."""
        return max(40, round(32_000 * (self.items / 25_000) ** 0.8))

    @property
    def users(self) -> int:
        return max(10, self.sessions // 12)

    @property
    def judged_queries(self) -> int:
        return min(2_000, max(10, round(400 * (self.items / 25_000) ** 0.6)))


PRESETS = {"tiny": Size(pins=400), "demo": Size(pins=20_000)}


def size_of(preset: str | Size) -> Size:
    """The size of that name, or the size itself; raises InputError for an unknown name."""
    if isinstance(preset, Size):
        return preset
    if preset not in PRESETS:
        raise InputError(
            f"There is no preset {preset!r}.",
            where="--preset",
            how=f"Choose one of {', '.join(PRESETS)}, or give --pins.",
        )
    return PRESETS[preset]
