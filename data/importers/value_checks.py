"""Checks of single values: each returns what the catalogue stores, or raises `Refused`.

All accept JSON values and their string forms in CSV files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

from omnisearch.data.text.markup import plain_text

MAX_TEXT = 100_000  # characters of one text field
MAX_ID = 512  # characters
MAX_LIST = 1_000  # entries of one list
MAX_PICTURES = 20  # of an item, beside its first
MAX_NUMBER = 1e12

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Unread:
    """Stands for a value of a file that cannot be read, or is too long for every field.

    Attributes:
        reason: why; the reason that a field which needs the value is refused with.
        kind: the value's type in the file, such as time64[us].
    """

    reason: str
    kind: str


class Refused(Exception):
    """A row, or one of its fields, is refused.

    Attributes:
        field: the field's name in the catalogue, or "" for the whole row.
        reason: why; the same text for the same fault, so that reasons can be counted.
        value: the value found.
    """

    def __init__(self, field: str, reason: str, value: Any = None) -> None:
        if isinstance(value, Unread):
            reason, value = value.reason, value.kind
        self.field, self.reason, self.value = field, reason, value
        super().__init__(f"{field} {reason}")


def text(value: Any, field: str) -> str | None:
    """A text, None if blank; whole numbers are taken as text."""
    if value is None:
        return None
    if type(value) is not str:
        if type(value) is float and value.is_integer():
            return text(int(value), field)  # pandas writes whole numbers beside missing ones so
        if type(value) is not int:
            raise Refused(field, "is not text", value)
        value = str(value)
    if len(value) > MAX_TEXT:
        raise Refused(field, "is longer than 100,000 characters", value)
    if "\0" in value:
        raise Refused(field, "contains a NUL character", value)
    if not value.isascii():
        _check_unicode(value, field)
    return value if value and not value.isspace() else None


def prose(value: Any, field: str) -> str | None:
    """A text that people read, without HTML; None if blank."""
    return text(plain_text(found), field) if (found := text(value, field)) else None


def _check_unicode(value: str, field: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        reason = "is not UTF-8" if _undecoded(value) else "contains a lone surrogate"
        raise Refused(field, reason, ascii(value)) from None


def _undecoded(value: str) -> bool:
    """Whether the readers replaced bytes that are not UTF-8 by surrogates."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def identifier(value: Any, field: str) -> str:
    """An id: text of 1 to 512 characters, stripped, without control characters."""
    if type(value) is str and value.isalnum() and value.isascii() and len(value) <= MAX_ID:
        return value
    checked = text(value, field)
    checked = checked and checked.strip()
    if not checked:
        raise Refused(field, "is missing")
    if len(checked) > MAX_ID:
        raise Refused(field, "is longer than 512 characters", checked)
    if _CONTROL.search(checked):
        raise Refused(field, "contains a control character", checked)
    return checked


def optional_identifier(value: Any, field: str) -> str | None:
    """An id, or None if missing."""
    if value is None or (type(value) is str and not value.strip()):
        return None
    return identifier(value, field)


def choice(value: Any, field: str, choices: tuple[str, ...], what: str) -> str:
    """One of a fixed set of words."""
    if value in choices if type(value) is str else False:
        return value
    if value is None or value == "":
        raise Refused(field, "is missing")
    raise Refused(field, f"is not a known {what} (known: {', '.join(choices)})", value)


def code(value: Any, field: str) -> str | None:
    """A language as in 'en' or 'pt-br': lower case, at most 35 letters, digits and hyphens."""
    if value is None or value == "":
        return None
    return _code(value, field) if type(value) is str else _no_code(value, field)


def upper_code(value: Any, field: str) -> str | None:
    """A country as in 'US': upper case, as `code`."""
    found = code(value, field)
    return found and found.upper()


@lru_cache(maxsize=1024)
def _code(value: str, field: str) -> str | None:
    stripped = value.strip().replace("_", "-")
    if not stripped:
        return None
    if len(stripped) > 35 or not stripped.isascii() or not stripped.replace("-", "").isalnum():
        _no_code(value, field)
    return stripped.lower()


def _no_code(value: Any, field: str) -> str:
    raise Refused(field, "is not a code such as en or US", value)


def number(value: Any, field: str, low: float = 0.0, high: float = MAX_NUMBER) -> float | None:
    """A finite number in [low, high], None if missing (or NaN)."""
    if value is None:
        return None
    if type(value) is str:
        if not value.strip():
            return None
        found = _parsed(value, field)
    elif type(value) in (int, float) or type(value).__name__ == "Decimal":
        found = float("inf") if abs(value) >= 1e300 else float(value)
    else:
        raise Refused(field, "is not a number", value)
    if found != found:  # pandas writes a missing value as NaN
        return None
    if not isfinite(found):
        raise Refused(field, "is not a finite number", str(value))
    if not low <= found <= high:
        raise Refused(field, "is out of range", value)
    return found


def _parsed(value: str, field: str) -> float:
    try:
        # Python would also accept 1_000.
        return float(value if "_" not in value else "")
    except ValueError:
        raise Refused(field, "is not a number", value) from None


def whole(value: Any, field: str, low: int, high: int) -> int | None:
    """A whole number in [low, high], None if missing."""
    if type(value) is int and low <= value <= high:
        return value
    found = number(value, field, low, high)
    if found is None:
        return None
    if found != int(found):
        raise Refused(field, "is not a whole number", value)
    return int(found)


def parts(value: Any, field: str, limit: int = MAX_LIST) -> list[Any] | None:
    """A list; a string is read as a JSON array or as values separated by `|`."""
    if value is None:
        return None
    if type(value) is str:
        if len(value) > MAX_TEXT:
            raise Refused(field, "is longer than 100,000 characters", value)
        value = _split(value, field)
    if type(value) is not list:
        raise Refused(field, "is not a list", value)
    if len(value) > limit:
        raise Refused(field, f"has more than {limit:,} entries", value[:3])
    return value


def _split(value: str, field: str) -> Any:
    if not value.lstrip().startswith("["):
        return value.split("|")
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise Refused(field, "is not a JSON array", value) from None


def texts(value: Any, field: str) -> str | None:
    """A list of texts as JSON, without HTML and blank or repeated ones; None if none remain."""
    return _kept(parts(value, field), field, prose)


def pictures(value: Any, field: str) -> str | None:
    """A list of names or addresses of pictures as JSON, without blank or repeated ones; None if
    none remain."""
    return _kept(parts(value, field, MAX_PICTURES), field, text)


def _kept(entries: list[Any] | None, field: str, check: Callable[..., str | None]) -> str | None:
    kept = dict.fromkeys(each.strip() for v in entries or () if (each := check(v, field)))
    return orjson.dumps(list(kept)).decode() if kept else None
