"""Reads files of queries to compare systems on: text, JSONL, CSV or TSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import orjson

from omnisearch.data.importers.delimiters import found_delimiter
from omnisearch.data.importers.text_files import encoding_of, open_text, opened_text, read_sample
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError

_COLUMNS = ("query", "text", "search_term")


def read_queries(path: Path) -> list[str]:
    """The distinct normalised queries of a file, in its order.

    A `.jsonl` file holds strings or objects with "query" or "text"; a `.csv` or `.tsv` file has a
    header with one of `query`, `text`, `search_term`; any other file has one query a line, and
    lines that start with # are comments. The encoding is found as that of imported files.

    Raises:
        InputError: the file cannot be read, a line is invalid, or there are no queries.
    """
    readers = {".jsonl": _json_lines, ".csv": _table, ".tsv": _table}
    read = readers.get(path.suffix.lower(), _lines)
    try:
        keys = [normalise_query(text) for text in read(path)]
    except OSError as error:
        raise InputError(
            f"The query file cannot be read ({error.strerror}).", where=str(path)
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The query file cannot be decoded ({error}).",
            where=str(path),
            how="Save it as UTF-8.",
        ) from error
    queries = list(dict.fromkeys(key for key in keys if key))
    if not queries:
        raise InputError("The file has no queries.", where=str(path))
    return queries


def _lines(path: Path) -> Iterator[str]:
    with opened_text(path) as file:
        yield from (line for line in file if not line.startswith("#"))


def _json_lines(path: Path) -> Iterator[str]:
    raw, file = open_text(path, encoding_of(path).name)
    with raw, file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(f"The line is not JSON ({error}).", where=where) from error
            if isinstance(value, dict):
                value = next((value[key] for key in _COLUMNS if key in value), None)
            if not isinstance(value, str):
                raise InputError(
                    "The line has no query.", where=where, how='Write {"query": "..."} lines.'
                )
            yield value


def _table(path: Path) -> Iterator[str]:
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    separator, _ = found_delimiter(read_sample(path, encoding_of(path).name), usual)
    with opened_text(path, newline="") as file:
        rows = csv.DictReader(file, delimiter=separator)
        column = next((name for name in _COLUMNS if name in (rows.fieldnames or ())), None)
        if column is None:
            raise InputError(
                "The table has no query column.",
                where=f"{path}:1",
                how=f"Name one of its columns {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}.",
            )
        yield from (row[column] or "" for row in rows)
