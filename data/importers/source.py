"""What the readers hand over: the rows of a file, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, NamedTuple

from omnisearch.data.importers.value_checks import Refused

MAX_LINE = 16 * 1024 * 1024  # bytes; a longer line is refused without being read into memory
TOO_LONG = "the line is longer than 16 MiB"

Line = tuple[int, bytes | None]  # its number, from 1; None in place of one longer than MAX_LINE


class Row(NamedTuple):
    """One row of a file: its values by column name, or why (and where) it could not be read.

    `line` counts from 1: the physical line where the row begins, or the row of a Parquet file.
    `size` is about how many bytes it has in memory. `left_out` are the values of the file that the
    row is to be taken without, each with its line.
    """

    line: int
    values: dict[str, Any] | None
    error: str | None = None
    field: str = ""
    size: int = 0
    left_out: tuple[tuple[int, Refused], ...] = ()


@dataclass(frozen=True)
class Source:
    """An open file: its rows, its columns if it has a header, and how far it has been read.

    `done()` and `total` are in bytes, or in rows for Parquet. When all rows are read, `notes` says
    in sentences what was decided and left out on the way, and `ignored` names columns that were not
    read.
    """

    format: str
    rows: Iterator[Row]
    columns: tuple[str, ...] | None
    total: int
    done: Callable[[], int]
    notes: list[str] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)


def begun(source: Source) -> Source | None:
    """The source after a look at its first row; None if it has no rows."""
    first = list(islice(source.rows, 1))
    return replace(source, rows=chain(first, source.rows)) if first else None
