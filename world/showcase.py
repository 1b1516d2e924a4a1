"""A few queries that are logged and judged in every world, so that examples can use them.

The first is the query of the paper's Figure 5. Items that have all parts of a query are made
slightly more likely; many have only some of them, which misleads token search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from omnisearch.world.lexicon import GROUPS, Lexicon

SHARE = 0.002  # share of all searches, each
LIKED = 0.35  # probability that an item of the concept has the value, besides the concept's taste


@dataclass(frozen=True)
class Showcase:
    """A query text, its language, and its meaning: a theme and values, by name."""

    text: str
    language: str
    theme: str
    values: tuple[tuple[str, str], ...]

    def meaning(self, lexicon: Lexicon) -> tuple[int, np.ndarray]:
        """The theme number and (G,) int16 values, -1 for none."""
        theme = next(n for n, theme in enumerate(lexicon.themes) if theme.name == self.theme)
        wanted = np.full(len(GROUPS), -1, dtype=np.int16)
        for number, value in enumerate(lexicon.values):
            if (GROUPS[value.group], value.name) in self.values:
                wanted[value.group] = number
        return theme, wanted


SHOWCASES: Final = (
    Showcase(
        "antique copper bathroom sink",
        "en",
        "sink",
        (("style", "rustic"), ("material", "copper"), ("room", "bathroom")),
    ),
    Showcase("boho bedroom decor", "en", "home", (("style", "boho"), ("room", "bedroom"))),
    Showcase(
        "easy chocolate birthday cake",
        "en",
        "layer-cake",
        (("manner", "easy"), ("taste", "chocolate"), ("occasion", "birthday")),
    ),
    Showcase(
        "vintage brautkleid spitze",
        "de",
        "wedding-dress",
        (("style", "vintage"), ("material", "lace")),
    ),
    Showcase(
        "北欧風 リビング 照明",
        "ja",
        "lighting",
        (("style", "scandinavian"), ("room", "living-room")),
    ),
    Showcase(
        "зелёный бархат диван",
        "ru",
        "sofa",
        (("colour", "green"), ("material", "velvet")),
    ),
)
