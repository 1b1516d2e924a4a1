"""Rows of JSON: one object a line, or an array of objects, read as a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.importers.source import MAX_LINE, TOO_LONG, Line, Row
from omnisearch.data.workspace.errors import InputError

_CHUNK = 1024 * 1024
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]"]', re.DOTALL)
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:[{\]]|$)")
_BETWEEN = b" \t\r\n,"


def is_array(sample: bytes) -> bool:
    """Whether a file that begins so is an array of objects."""
    return _ARRAY.match(sample) is not None


def is_lines(sample: bytes) -> bool:
    """Whether the first line is an object of its own."""
    try:
        return isinstance(orjson.loads(sample.lstrip().split(b"\n")[0]), dict)
    except orjson.JSONDecodeError:
        return False


def line_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """One object a line; blank lines are none."""
    for number, line in lines:
        if line is None:
            yield Row(number, None, TOO_LONG)
        elif line.strip():
            yield _row(number, line)


def array_rows(path: Path, read: Callable[[int], bytes]) -> Iterator[Row]:
    """The objects of an array, each by the physical line in which it begins.

    An object that is not valid JSON is refused alone, if its brackets and quotes are closed.

    Raises:
        InputError: the array is not closed, or goes on after its end.
    """
    data = read(_CHUNK).removeprefix(b"\xef\xbb\xbf")
    start = at = len(data) - len(data.lstrip())
    line = 1 + data.count(b"\n", 0, start)  # the one in which `start` is
    depth, ended = 0, False
    while True:
        token = _TOKEN.search(data, at)
        if token is None or token[0] == b'"':  # nothing more here, or a text that goes on
            more = read(_CHUNK)
            if not more:
                break
            at = (token.start() if token else len(data)) - start
            data, start = data[start:] + more, 0
            if len(data) > MAX_LINE + 2 * _CHUNK:
                raise InputError(
                    f"An entry {TOO_LONG.removeprefix('the line ')}, or a text is not closed.",
                    where=f"{path}, line {line}",
                    how="Mend the file; nothing of it was imported.",
                )
            continue
        at = token.end()
        opens, closes = token[0] in b"{[", token[0] in b"}]"
        if depth == 0 and ended:
            break
        if opens:
            if depth == 1:
                yield from _stray(data, start, token.start(), line)
                line += data.count(b"\n", start, token.start())
                start = token.start()
            elif depth == 0:
                start = at
            depth += 1
        elif closes:
            depth -= 1
            if depth == 1:
                yield _row(line, data[start:at])
                line += data.count(b"\n", start, at)
                start = at
            elif depth == 0:
                yield from _stray(data, start, token.start(), line)
                start, ended = at, True
    if not ended or data[start:].strip():
        raise InputError(
            "The array goes on after its end." if ended else "The array is not closed.",
            where=f"{path}, line {line}",
            how="The file is damaged or was cut short. Write it again; nothing of it was imported.",
        )


def _stray(data: bytes, start: int, end: int, line: int) -> Iterator[Row]:
    """What stands between two objects and is none."""
    if stray := data[start:end].lstrip(_BETWEEN):
        before = end - len(stray)
        yield Row(line + data.count(b"\n", start, before), None, "is not a JSON object")


def _row(number: int, text: bytes) -> Row:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            values = _python_json(text)
        except (ValueError, RecursionError) as error:
            utf8 = not isinstance(error, UnicodeDecodeError)
            return Row(number, None, "is not valid JSON" if utf8 else "is not UTF-8")
    if type(values) is dict:
        return Row(number, values, None, "", len(text))
    return Row(number, None, "is not a JSON object")


def _python_json(text: bytes) -> Any:
    """JSON as Python writes it: NaN means missing; lone surrogates are refused later."""
    constants = {"NaN": None, "Infinity": float("inf"), "-Infinity": float("-inf")}
    return json.loads(text.decode("utf-8"), parse_constant=constants.__getitem__)
