"""Conditions of rules, in the syntax of filters; and `entity=` and `board=`."""

from __future__ import annotations

from collections.abc import Sequence

from omnisearch.engine.filter_syntax import condition_of
from omnisearch.engine.filters import Filters


def parse_filters(conditions: Sequence[str]) -> Filters:
    """The filter that asks for all of these conditions, such as `brand=Acme` or `price<=30`.

    Raises InputError.
    """
    fields: dict[str, str] = {}
    where = []
    for text in conditions:
        found = condition_of(text)
        if found.name in ("entity", "board") and found.op == "=" and len(found.values) == 1:
            fields[found.name] = found.values[0]
        else:
            where.append(text)
    return Filters(entity=fields.get("entity"), board=fields.get("board"), where=tuple(where))
