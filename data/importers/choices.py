"""A file's own words for fields that take few values: `--map action.click=clic,vue`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omnisearch.data.catalogue.schema import ACTIONS, AVAILABILITY, ENTITIES
from omnisearch.data.importers.rows import FIELDS
from omnisearch.data.importers.source import Row
from omnisearch.data.workspace.errors import InputError

_CHOICES = {"action": ACTIONS, "entity": ENTITIES, "availability": AVAILABILITY}
Words = dict[str, dict[str, str]]  # field → the file's word, in lower case → our value


def apart(kind: str, mapping: Mapping[str, str]) -> tuple[dict[str, str], Words]:
    """What `--map` says of columns, and what it says of words in them.

    Raises:
        InputError: a field never has the value, or a word stands for two of them.
    """
    columns: dict[str, str] = {}
    words: Words = {}
    for ours, theirs in mapping.items():
        field, dot, value = ours.partition(".")
        if not dot or field not in _CHOICES or field not in FIELDS[kind]:
            columns[ours] = theirs
            continue
        if value not in _CHOICES[field]:
            raise InputError(
                f"{field} has no value {value!r}.",
                where="--map",
                how=f"Its values are {', '.join(_CHOICES[field])}.",
            )
        of_field = words.setdefault(field, {})
        for word in filter(None, (part.strip().casefold() for part in theirs.split(","))):
            if of_field.setdefault(word, value) != value:
                raise InputError(
                    f"The word {word!r} is given to both {field}.{of_field[word]} and {ours}.",
                    where="--map",
                    how="Leave one of them out.",
                )
    return columns, words


def translated(rows: Iterator[Row], words: Words) -> Iterator[Row]:
    """The rows with our values for the file's words; other values stay."""
    for row in rows:
        values = row.values
        if values is not None and (found := dict(_values(values, words))):
            row = row._replace(values=values | found)
        yield row


def _values(values: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    for field, of_field in words.items():
        said = values.get(field)
        if isinstance(said, str) and (value := of_field.get(said.strip().casefold())):
            yield field, value
