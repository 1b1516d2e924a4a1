"""Arrays that are filled in place on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


def new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new `.npy` file of zeros, memory-mapped for writing, with its room on the disk reserved.

    Without the reservation the file would be sparse, and a disk that is full would end the process
    by SIGBUS at the first write to a page that has no room.

    Raises:
        OSError: there is no room for the array.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))
    return array
