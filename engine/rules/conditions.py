"""Conditions of rules, in the syntax of filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.filters import Filters

_CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|=)\s*(.*\S)\s*")
_TEXTS = ("entity", "brand", "language", "country", "board")


def parse_filters(conditions: Sequence[str]) -> Filters:
    """The filter that asks for all of these conditions, such as `brand=Acme` or `price<=30`.

    Raises InputError.
    """
    fields: dict[str, Any] = {}
    for text in conditions:
        found = _CONDITION.fullmatch(text)
        name, sign, value = found.groups() if found else ("", "", "")
        if name in _TEXTS and sign == "=":
            fields[name] = value
        elif name == "price" and sign != "=" and re.fullmatch(r"\d+(\.\d+)?", value):
            fields["price_max" if sign == "<=" else "price_min"] = float(value)
        else:
            raise InputError(
                f"{text[:60]!r} is no condition.",
                where="filter",
                how=f"Conditions are on {', '.join(_TEXTS)} (=) and on price (<=, >=).",
            )
    return Filters(**fields)
