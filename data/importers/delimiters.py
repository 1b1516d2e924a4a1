"""What separates the columns of a table: found in the file, or given."""

from __future__ import annotations

import csv
from itertools import islice

from omnisearch.data.importers.text_files import SAMPLE
from omnisearch.data.workspace.errors import InputError

NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_ROWS = 50
_WORDS = {word: sign for sign, word in NAMES.items()} | {"\\t": "\t", "pipe": "|"}


def checked_delimiter(given: str) -> str:
    """The delimiter of an option: a character, or one of the words in NAMES.

    Raises:
        InputError: it is neither.
    """
    sign = _WORDS.get(given.lower(), given)
    if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n\0 ':
        raise InputError(
            f"{given!r} cannot separate columns.",
            where="--delimiter",
            how="Give one character, such as ';', or comma, semicolon, tab or bar.",
        )
    return sign


def found_delimiter(sample: bytes, usual: str) -> tuple[str, bool]:
    """(delimiter, whether the first line says it as `sep=;`) of the first bytes of a table.

    It is the one that splits the header into the most columns that the rows have, too; `usual` if
    none splits it.
    """
    text = sample.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    lines = text.splitlines(keepends=True)
    if len(sample) >= SAMPLE:
        lines = lines[:-1] or lines  # the last one may be cut
    lines = [line for line in lines if line.strip()]
    if not lines:
        return usual, False
    first = lines[0].strip()
    if first.lower().startswith("sep=") and len(first) == 5:  # as Excel writes it
        return first[4], True
    best, most = usual, 1.0
    for sign in (usual, *(each for each in NAMES if each != usual)):
        columns = _columns(lines, sign)
        if columns > most:
            best, most = sign, columns
    return best, False


def _columns(lines: list[str], sign: str) -> float:
    """The columns of the header, times the share of rows that have as many; 0 if it has one."""
    try:
        rows = [row for row in islice(csv.reader(lines, delimiter=sign), _ROWS) if row]
    except csv.Error:
        return 0.0
    width = len(rows[0]) if rows else 0
    return width * sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
