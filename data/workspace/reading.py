"""Reading stored files that may be hostile: their hash says that they are unchanged, not sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.workspace.errors import Corrupt

_MOST_LETTERS = 300  # of a library's message
_IN_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    type(None): "empty",
}


@contextmanager
def reading(what: str, where: Path, how: str) -> Iterator[None]:
    """Turns whatever a library raises about a stored file into Corrupt: "`what` cannot be read".

    A damaged file may raise anything, also the panic of a Rust library (tantivy, tokenizers,
    safetensors), which is no Exception.
    """
    try:
        yield
    except Corrupt:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:_MOST_LETTERS]
        raise Corrupt(f"{what} cannot be read ({why}).", where=str(where), how=how) from error


def check_array(name: str, array: Any, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless it is a C-contiguous array of this type and shape.

    `shape` has None for a size that may be any; the byte order is part of the type.
    """
    fits = (
        array.dtype == np.dtype(dtype)
        and array.ndim == len(shape)
        and all(size in (None, found) for size, found in zip(shape, array.shape, strict=True))
        and array.flags.c_contiguous
    )
    if not fits:
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} ({wanted})")


def load_array(path: Path, dtype: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """A `.npy` file, memory-mapped; ValueError and others if it is not of this type and shape.

    It is mapped even where it is copied afterwards, because a mapping cannot be larger than its
    file, while a read reserves what the header claims.
    """
    array = np.lib.format.open_memmap(path, mode="r")
    check_array(path.name, array, dtype, shape)
    return array


def load_json(content: bytes, shape: Any) -> Any:
    """A JSON value of a shape (`check_shape`); raises ValueError."""
    value = orjson.loads(content)
    check_shape(value, shape)
    return value


def load_lines(content: bytes, shape: Any) -> list[Any]:
    """The JSON value of each line, each of a shape (`check_shape`); raises ValueError."""
    values = [orjson.loads(line) for line in content.splitlines()]
    check_shape(values, [shape])
    return values


def check_shape(value: Any, shape: Any, at: str = "") -> None:
    """Raise ValueError, naming the place, unless a JSON value has a shape.

    A shape is a type or a tuple of types; `[shape]` for a list of such values, `{str: shape}` for
    an object of such values, and `{"name": shape}` for an object that has at least these fields.
    A bool is no int, and an int is also a float.
    """
    if isinstance(shape, list):
        check_shape(value, list, at)
        if all(type(entry) is shape[0] for entry in value):
            return  # the usual case of a long list, without naming every place
        for number, entry in enumerate(value):
            check_shape(entry, shape[0], f"{at}[{number}]")
    elif isinstance(shape, dict):
        check_shape(value, dict, at)
        every = {name: shape[str] for name in value} if str in shape else shape
        for name, inner in every.items():
            if name not in value:
                raise ValueError(f"{at}.{name} is missing".lstrip("."))
            check_shape(value[name], inner, f"{at}.{name}".lstrip("."))
    else:
        allowed = shape if isinstance(shape, tuple) else (shape,)
        if not (type(value) in allowed or (type(value) is int and float in allowed)):
            names = " or ".join(map(_in_words, allowed))
            raise ValueError(f"{at or 'it'} is {_in_words(type(value))}, and must be {names}")


def _in_words(kind: type) -> str:
    return _IN_WORDS.get(kind, f"a {kind.__name__}")
