"""Which items of the segments below an update no longer count: they are replaced or deleted.

An item is dead in a table or in the content of a segment: of one whose price has changed, the row
of the table is replaced, but not its words and vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save_file

from omnisearch.data.workspace.reading import check_array

DEAD_FILE = "dead.safetensors"
TABLE, CONTENT = "table", "content"
_NONE = np.zeros(0, np.int64)

Part = tuple[int, str, str]  # a segment's number, an entity type, and TABLE or CONTENT
Dead = dict[Part, np.ndarray]  # int64, ascending: the places there that no longer count


def write_dead(folder: Path, dead: Dead) -> None:
    """Store them in a generation's folder."""
    save_file(
        {"/".join(map(str, part)): places for part, places in dead.items()}, folder / DEAD_FILE
    )


def load_dead(content: bytes, sizes: Mapping[Part, int]) -> Dead:
    """Those that a file has stored, of each of the parts.

    Args:
        sizes: how many items are in each part.

    Raises ValueError if they do not fit, or are of other parts.
    """
    stored, dead = load(content), Dead()
    for part, size in sizes.items():
        places = dead[part] = stored.pop("/".join(map(str, part)), _NONE)
        check_array("places", places, np.int64, (None,))
        inside = (places >= 0) & (places < size)
        if not inside.all() or not (np.diff(places) > 0).all():
            raise ValueError("places of items that no longer count do not fit")
    if stored:
        raise ValueError(f"{DEAD_FILE} names {sorted(stored)[0]}")
    return dead
