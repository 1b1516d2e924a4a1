"""Arrays on the disk: filled in place, or read where they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors import safe_open

_TYPES = {  # those of safetensors that are stored here
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F32": np.float32,
}


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


def mapped_file(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, memory-mapped; raises what its library or numpy raises.

    The library reads files as a whole: a copy in each process that opens them.
    """
    with safe_open(path, "np") as file:  # checks the header
        names = set(file.keys())
    content = np.memmap(path, np.uint8, "r")
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = orjson.loads(content[8:begin].tobytes())
    arrays = {}
    for name in names:
        start, end = (begin + offset for offset in header[name]["data_offsets"])
        part = np.asarray(content[start:end]).view(_TYPES[header[name]["dtype"]])
        arrays[name] = part.reshape(header[name]["shape"])
    return arrays
