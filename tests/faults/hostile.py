"""Hostile versions of stored files: of another type, shape or range, under hashes that are right.

`variants(path)` makes them from a good file, by its kind; `replace` puts one into a published
folder and writes the manifest anew.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, entry_of, write_manifest

Variant = tuple[str, bytes]
DEEP = b"[" * 5000 + b"]" * 5000
LONG = "n" * 5000


def copy_of(whole: Workspace, folder: Path, part: Path) -> Workspace:
    """A workspace that shares the files of another, in which those at `part` can be replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in whole.root.iterdir():
        if path.name == part.parts[0] and path.is_dir():
            shutil.copytree(path, folder / path.name, copy_function=os.link)
        else:
            (folder / path.name).symlink_to(path)
    return Workspace(folder)


def put(path: Path, content: bytes) -> None:
    """Replace a file; other links to it keep its content."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def replace(folder: Path, kind: Kind, name: str, content: bytes) -> None:
    """Replace a file of a published folder; all hashes are right afterwards."""
    put(folder / name, content)
    manifest = folder / kind.manifest
    facts = orjson.loads(manifest.read_bytes())
    manifest.unlink()
    write_manifest(folder, kind, {key: facts[key] for key in facts.keys() - {"files", "sha256"}})


def rename_rankers(workspace: Workspace) -> None:
    """Name the live rankers by the hash of their manifest, as it is now."""
    pointer = workspace.current_rankers
    folder = workspace.rankers / pointer.read_text().strip()
    name = entry_of((folder / "manifest.json").read_bytes())["sha256"][:16]
    folder.rename(folder.with_name(name))
    put(pointer, name.encode())


def variants(path: Path, seed: int = 0) -> Iterator[Variant]:
    """(what is wrong, content) of hostile versions of a good file."""
    content = path.read_bytes()
    yield "empty", b""
    yield "cut", content[: len(content) // 2]
    yield "zeros", bytes(len(content) + 1)
    yield "JSON too deep", DEEP
    by_kind = {
        ".npy": _npy,
        ".safetensors": _safetensors,
        ".json": _json,
        ".jsonl": _lines,
        ".ids": _lines,
        ".txt": _text,
        ".hnsw": _hnsw,
    }
    made = by_kind.get(path.suffix, _bits)
    yield from made(content, random.Random(f"{seed} {path.name}"))


def npy(array: np.ndarray, **header: Any) -> bytes:
    """A `.npy` file; `header` replaces entries of its header."""
    out = io.BytesIO()
    facts = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(out, facts)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return out.getvalue() + array.tobytes(order)


def _npy(content: bytes, rng: random.Random) -> Iterator[Variant]:
    good = np.load(io.BytesIO(content), allow_pickle=False)
    other = "<i4" if good.dtype.kind == "f" else "<f4"
    for dtype in ("<f8", "<f2", "<i8", "<c8", ">f4", ">i2", "S5", other):
        yield f"type {dtype}", npy(np.nan_to_num(good).astype(dtype))
    yield "structured", npy(np.zeros(good.shape, [("a", "<f4"), ("b", "<i8")]))
    yield "objects", npy(good, descr="|O")
    if good.ndim == 2:
        yield "Fortran order", npy(np.asfortranarray(good))
        yield "turned", npy(np.ascontiguousarray(good.T))
        yield "another width", npy(np.concatenate((good, good), axis=1))
    yield "flat", npy(good.reshape(-1)) if good.ndim > 1 else npy(good[:, None])
    yield "no rows", npy(good[:0])
    yield "a row less", npy(good[:-1])
    yield "a row more", npy(np.concatenate((good, good[:1])))
    yield "one number", npy(np.array(1.0, np.float32))
    for rows in (10**6, 10**12, -1, 2**63):
        yield f"a header of {rows} rows", npy(good, shape=(rows, *good.shape[1:]))
    yield "a header of 30 dimensions", npy(good, shape=(1,) * 30)
    yield "a header without end", content[:10] + b"(" * 5000
    yield "an archive", _archive(good)
    if good.dtype.kind == "f" and good.any():
        row = int(np.flatnonzero(good.any(axis=1))[0])
        for value in (np.nan, np.inf, -np.inf, 1e30, 0.5):
            bad = good.copy()
            bad[row, rng.randrange(good.shape[1])] = value
            yield f"a coordinate of {value}", npy(bad)
        yield "vectors of twice the length", npy(good * np.float32(2))
    if good.dtype == bool:
        yield "turned around", npy(~good)
        yield "neither true nor false", npy(np.full(good.shape, 7, np.uint8), descr="|b1")


def _archive(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, array)
    return out.getvalue()


_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
    "F32": "<f4",
    "F64": "<f8",
    "F16": "<f2",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def read_tensors(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    (size,) = struct.unpack("<Q", content[:8])
    header, data = orjson.loads(content[8 : 8 + size]), content[8 + size :]
    metadata = header.pop("__metadata__", {})
    return {
        name: np.frombuffer(data[slice(*says["data_offsets"])], _DTYPES[says["dtype"]]).reshape(
            says["shape"]
        )
        for name, says in header.items()
    }, metadata


def tensors(arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data, at = [], 0
    for name, array in sorted(arrays.items(), key=lambda entry: -entry[1].dtype.itemsize):
        stop = at + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [at, stop],
        }
        data.append(array.tobytes())
        at = stop
    head = orjson.dumps(header)
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(data)


def _safetensors(content: bytes, rng: random.Random) -> Iterator[Variant]:
    arrays, metadata = read_tensors(content)
    for size in (2**60, len(content), 10**9):
        yield f"a header of {size} bytes", struct.pack("<Q", size) + content[8:]
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    yield "a deep header", struct.pack("<Q", len(deep)) + deep
    for dtype, shape in (("F32", [10**12]), ("BF16", [2**62, 4]), ("U8", [-1])):
        head = orjson.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, 4]}})
        yield f"a header of {dtype} {shape}", struct.pack("<Q", len(head)) + head + bytes(4)
    for name in sorted(arrays):
        for what, changed in _tensor(arrays[name]):
            new = dict(arrays)
            if changed is None:
                del new[name]
            else:
                new[name] = changed
            yield f"{name}: {what}", tensors(new, metadata)


def _tensor(good: np.ndarray) -> Iterator[tuple[str, np.ndarray | None]]:
    yield "missing", None
    for dtype in ("<f8", "<i4", "u1"):
        if good.dtype != np.dtype(dtype):
            yield f"type {dtype}", np.nan_to_num(good).astype(dtype)
    yield "another shape", good.reshape(-1, 1) if good.ndim != 2 else good.reshape(-1)
    if good.ndim:
        yield (
            "a row more",
            np.concatenate((good, good[:1]))
            if len(good)
            else np.zeros((1, *good.shape[1:]), good.dtype),
        )
    if good.ndim and len(good) > 1:
        yield "no rows", good[:0]
        yield "a row less", good[:-1]


def _json(content: bytes, rng: random.Random) -> Iterator[Variant]:
    good = orjson.loads(content)
    yield "a list", b"[]"
    yield "null", b"null"
    yield "a number", b"1e308"
    yield "bytes that are no text", b'{"a": "\xff"}'
    yield "nothing in it", b"{}"
    every = list(places(good))
    for place in every if len(every) < 60 else rng.sample(every, 60):
        for value in rng.sample(VALUES, 4):
            if value != at(good, place) or type(value) is not type(at(good, place)):
                yield f"{'.'.join(map(str, place))} = {value!r:.30}", changed(good, place, value)


VALUES: list[Any] = [
    None,
    "x",
    "",
    LONG,
    -1,
    10**12,
    2**63,
    1.5,
    1e308,
    [],
    {},
    [[1]],
    True,
    "../x",
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields of JSON, not of every entry of long lists."""
    if place:
        yield place
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*place, key))
    elif isinstance(value, list):
        for number in range(min(len(value), 2)):
            yield from places(value[number], (*place, number))


def at(value: Any, place: tuple[Any, ...]) -> Any:
    """The value at a path of JSON."""
    for key in place:
        value = value[key]
    return value


def changed(good: Any, place: tuple[Any, ...], value: Any) -> bytes:
    """JSON with the value at a path replaced."""
    new = orjson.loads(orjson.dumps(good))
    at(new, place[:-1])[place[-1]] = value
    return orjson.dumps(new)


def _lines(content: bytes, rng: random.Random) -> Iterator[Variant]:
    lines = content.splitlines(keepends=True)
    some = rng.randrange(len(lines))
    for what, line in (
        ("a number", b"7\n"),
        ("null", b"null\n"),
        ("a list", b"[]\n"),
        ("no JSON", b"{\n"),
        ("bytes", b"\xff\xfe\n"),
        ("deep", DEEP + b"\n"),
        ("an object of an object", b'{"title": {"a": 1}}\n'),
    ):
        yield f"line {some}: {what}", b"".join([*lines[:some], line, *lines[some + 1 :]])
    yield "a line less", b"".join(lines[:-1])
    yield "a line more", content + b'"another"\n'
    yield "a line twice", b"".join([*lines[:-1], lines[0]])
    yield "a long line more", content + orjson.dumps(LONG) + b"\n"


def _text(content: bytes, rng: random.Random) -> Iterator[Variant]:
    lines = content.splitlines(keepends=True)
    yield "no UTF-8", b"\xff" + content
    yield "a line less", b"".join(lines[:-1])
    yield "a line more", content + b"another\n"
    yield "no end of the last line", content[:-1]
    yield "a long line more", content + LONG.encode() + b"\n"


def _hnsw(content: bytes, rng: random.Random) -> Iterator[Variant]:
    for place in range(0, 88, 8):
        for value in (0, 1, 2**31, 2**63, 10**12):
            yield f"header {place} = {value}", _patched(content, place, struct.pack("<Q", value))
    for _ in range(20):
        place = rng.randrange(96, len(content) - 4)
        yield f"0xffffffff at {place}", _patched(content, place, b"\xff" * 4)
    yield "a bit more", content + b"\0"


def _patched(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def _bits(content: bytes, rng: random.Random) -> Iterator[Variant]:
    for place in rng.choices(range(len(content)), k=8) if content else []:
        yield f"a bit of {place}", _patched(content, place, bytes([content[place] ^ 0x10]))
    yield "noise", rng.randbytes(len(content))
    yield "twice", content + content


def failures(
    cases: Iterator[tuple[str, Callable[[], object]]], allowed: Any, whole: object
) -> list[str]:
    """The cases that neither raise `allowed` nor give what the undamaged files give.

    `whole` None: any result will do.
    """
    found = []
    for name, act in cases:
        try:
            result = act()
        except allowed:
            continue
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            found.append(f"{name}: {type(error).__name__}: {error}"[:300])
            continue
        if whole is not None and result != whole:
            found.append(f"{name}: another result")
    return found
