"""Bodies that are one list, such as {"queries": [...]} or lines of text, read in slices.

A parser of whole bodies holds the interpreter's lock until it is done: 0.4 s for 8 MB of fields,
and longer for the list of what is wrong with them. Here no step sees more than one row,
or some KB of lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from omnisearch.service.errors import Refusal
from omnisearch.service.schemas import MAX_TEXT
from omnisearch.service.validation import sentences

_MOST_BYTES = 128 * 1024  # of a row
_MOST_FIELDS = 32  # of a row
_SLICE = 16 * 1024  # bytes between two calls of `give_way`

_SPACE = rb"[ \t\r\n]{0,64}+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_START = re.compile(
    _SPACE + rb"\{" + _SPACE + rb'"([a-z]{1,32}+)"' + _SPACE + rb":" + _SPACE + rb"\["
)
_ROW = re.compile(
    _SPACE
    + rb"("
    + _STRING
    + rb'|\{(?:[^"{}\[\]]++|'
    + _STRING
    + rb")*+\})"
    + _SPACE
    + rb"([,\]])",
    re.DOTALL,
)
_END = re.compile(_SPACE + rb"\}" + _SPACE)


def read_rows(
    body: bytes, name: str, row: TypeAdapter[Any], most: int, give_way: Callable[[], None]
) -> list[Any]:
    """The validated rows of a body {name: [row, ...]}, each a string or an object of plain values.

    Args:
        most: how many rows there may be. give_way: called between slices of the work.

    Raises:
        Refusal: 400 if the body is not such a list, 413 if it has too many rows, 422 for the first
            row that is invalid.
    """
    found = _START.match(body)
    if found is None or found[1].decode() != name:
        raise _unreadable(name, 0)
    rows: list[Any] = []
    at, more, until = found.end(), True, _SLICE
    while more:
        part = _ROW.match(body, at, at + _MOST_BYTES)
        if part is None:
            raise _unreadable(name, at)
        if len(rows) == most:
            raise Refusal(413, f"A body may hold at most {most:,} rows.", how="Send it in parts.")
        rows.append(_valid(part[1], row, f"{name} {len(rows)}", name, at))
        at, more = part.end(), part[2] == b","
        if at >= until:
            give_way()
            until = at + _SLICE
    if _END.fullmatch(body, at) is None:
        raise _unreadable(name, at)
    return rows


def read_lines(body: bytes, most: int, give_way: Callable[[], None]) -> list[str]:
    """The lines of a body of UTF-8, without a line end after the last.

    Raises:
        Refusal: 400 if it is not UTF-8, 413 if there are too many lines, 422 for the first line
            that is empty or too long.
    """
    body = body.removesuffix(b"\n")
    lines: list[str] = []
    at = 0
    while at <= len(body):
        end = body.find(b"\n", at + _SLICE)
        end = len(body) if end < 0 else end
        lines += _lines(body[at:end], len(lines) + 1)
        if len(lines) > most:
            raise Refusal(413, f"A body may hold at most {most:,} lines.", how="Send it in parts.")
        at = end + 1
        give_way()
    return lines


def _lines(part: bytes, first: int) -> list[str]:
    if len(part) > _MOST_BYTES:  # and no more than _SLICE of it are further lines
        raise _too_long(first + part.count(b"\n"))
    try:
        lines = part.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Refusal(400, f"The body is not UTF-8 ({error.reason}).", where="body") from None
    for number, text in enumerate(lines, first):
        if not text or text.isspace():
            raise Refusal(422, "The query is empty.", where=f"line {number}")
        if len(text) > MAX_TEXT:
            raise _too_long(number)
    return lines


def _too_long(number: int) -> Refusal:
    how = f"Send at most {MAX_TEXT:,} characters."
    return Refusal(422, "The query is too long.", where=f"line {number}", how=how)


def _valid(content: bytes, row: TypeAdapter[Any], where: str, name: str, at: int) -> Any:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _unreadable(name, at) from None
    if isinstance(value, dict) and len(value) > _MOST_FIELDS:
        raise Refusal(422, f"A row may have at most {_MOST_FIELDS} fields.", where=where)
    try:
        return row.validate_python(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        fields = sentences({**each, "loc": (*where.split(), *each["loc"])} for each in faults)
        first = fields[0]
        raise Refusal(
            422, first["what"], where=first["where"], how="See /docs.", fields=fields
        ) from None


def _unreadable(name: str, at: int) -> Refusal:
    return Refusal(
        400,
        f'The body is not JSON of the form {{"{name}": [...]}}.',
        where=f"body byte {at}",
        how="See /docs.",
    )
