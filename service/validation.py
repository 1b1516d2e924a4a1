"""What pydantic finds wrong with a request, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_PLACES = ("query", "path", "header", "body")
_TAGS = ("int", "float", "str")  # of a union's members, which pydantic adds to the place
_KINDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "may have at most {max_length} characters",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "too_long": "may have at most {max_length} entries",
    "extra_forbidden": "is not a known field",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
}
_EMPTY = ("string_too_short", "too_short")  # all lower limits of lengths are 1


def sentences(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each of pydantic's errors as {"where", "what"}; the same sentence once."""
    found = [{"where": _where(each["loc"]), "what": _sentence(each)} for each in errors]
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _where(place: Iterable[str | int]) -> str:
    return " ".join(str(part) for part in place if part not in _TAGS)


def _sentence(error: Mapping[str, Any]) -> str:
    kind, parts = error["type"], list(error["loc"])
    name = _where(parts[1:] if parts[:1] and parts[0] in _PLACES else parts) or "The body"
    name = "The query" if name == "q" else name
    if kind in _EMPTY:
        return f"{name} is empty."
    if kind not in _KINDS:
        return f"{name}: {error['msg']}."
    return f"{name} {_KINDS[kind].format(**error.get('ctx', {}))}."
