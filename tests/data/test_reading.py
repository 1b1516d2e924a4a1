"""Reading what may be hostile: a library's failure becomes Corrupt, other types are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.reading import check_array, check_shape, load_array, reading


class PanicException(BaseException):
    """As pyo3 raises it for a panic of a Rust library."""


@pytest.mark.parametrize(
    "error", [ValueError("odd"), InputError("odd"), RecursionError("odd"), PanicException("odd")]
)
def test_what_a_library_raises_becomes_corrupt(error: BaseException) -> None:
    says = r"^a\.json: The list cannot be read \(odd\)\. Make it again\.$"
    with (
        pytest.raises(Corrupt, match=says),
        reading("The list", Path("a.json"), "Make it again."),
    ):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), Corrupt("worse")])
def test_what_ends_the_command_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, reading("The list", Path("a.json"), ""):
        raise error
    assert found.value is error


def test_a_message_of_a_library_is_cut() -> None:
    with pytest.raises(Corrupt) as found, reading("It", Path("a"), ""):
        raise ValueError("n" * 5000 + "\nmore")
    assert len(str(found.value)) < 400 and "more" not in str(found.value)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 2), ">f4"),
        np.zeros((3, 2), np.float64),
        np.zeros((3, 2, 1), np.float32),
        np.zeros((2, 3), np.float32).T,
        np.zeros((3, 3), np.float32),
    ],
)
def test_arrays_of_another_form_are_refused(array: np.ndarray) -> None:
    check_array("it", np.zeros((5, 2), np.float32), np.float32, (None, 2))
    with pytest.raises(ValueError, match=r"it is .*, not float32 \(n, 2\)"):
        check_array("it", array, np.float32, (None, 2))


def test_an_array_is_never_larger_than_its_file(tmp_path: Path) -> None:
    header = str({"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)}).ljust(117) + "\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + bytes(64))
    with pytest.raises(ValueError, match="mmap"):
        load_array(path, np.float32, (None, 4))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": 1}, "b is missing"),
        ({"a": True, "b": []}, "a is true or false, and must be a whole number"),
        ({"a": 1, "b": ["x", 2]}, r"b\[1\] is a whole number, and must be text"),
        ({"a": 1, "b": {}}, "b is a table, and must be a list"),
        ([], "it is a list, and must be a table"),
    ],
)
def test_json_of_another_shape_is_refused(value: Any, says: str) -> None:
    shape = {"a": int, "b": [str]}
    check_shape({"a": 1, "b": ["x"], "c": None}, shape)
    check_shape({"x": 1, "y": 2.5}, {str: float})
    with pytest.raises(ValueError, match=f"^{says}$"):
        check_shape(value, shape)
