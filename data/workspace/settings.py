"""Settings: `omnisearch.toml`, then the environment, then options; later ones win.

A section is a frozen dataclass; its table in the file has the section's name, its environment
variables are `OMNISEARCH_<SECTION>_<FIELD>`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from omnisearch.data.workspace.errors import InputError

Section = TypeVar("Section")
SECTIONS = (
    *("engine", "attributes", "cache", "rank", "index", "cluster", "train", "enrich", "graph"),
    "service",
)
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def load_section(
    section: str,
    defaults: Section,
    path: Path,
    options: Mapping[str, Any] | None = None,
) -> Section:
    """`defaults` overridden by the file at `path`, the environment and `options`.

    A value of None in `options` means not given. Fields are int, float, str, bool, or tables of
    these, such as [engine.depths].

    Raises:
        InputError: an unknown key or a value of the wrong type; it names the file or variable.
    """
    table = table_of_settings(section, path)
    known = {field.name: getattr(defaults, field.name) for field in fields(defaults)}  # type: ignore[arg-type]
    chosen = _chosen(table, known, f"{path} [{section}]", f"OMNISEARCH_{section}")
    chosen |= {key: value for key, value in (options or {}).items() if value is not None}
    return replace(defaults, **chosen)  # type: ignore[type-var]


def table_of_settings(section: str, path: Path) -> dict[str, Any]:
    """The table of a section in the file at `path`; raises InputError if it cannot be read."""
    table: Any = {}
    if path.exists():
        try:
            whole = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"The settings file is not valid TOML ({error}).", where=str(path)
            ) from error
        _check_sections(whole, path)
        table = whole.get(section, {})
    if not isinstance(table, dict):
        raise InputError(
            f"{section!r} is a section, not a value.", where=str(path), how=f"Write [{section}]."
        )
    return table


def _check_sections(whole: Mapping[str, Any], path: Path) -> None:
    """Raise InputError for a misspelt section, which nothing would read; plug-ins have others."""
    for name in whole.keys() - set(SECTIONS):
        if alike := get_close_matches(name, SECTIONS, 1, 0.75):
            raise InputError(
                f"There is no section [{name}].", where=str(path), how=f"Write [{alike[0]}]."
            )


def _chosen(
    table: Mapping[str, Any], known: Mapping[str, Any], where: str, variable: str
) -> dict[str, Any]:
    """The settings in a table or the environment; nested tables are kept as they are."""
    tables = {key: value for key, value in known.items() if isinstance(value, Mapping)}
    for key in table:
        if key not in known:
            inside = next((name for name, keys in tables.items() if key in keys), None)
            names = f"Write it in the table [{where[where.index('[') + 1 : -1]}.{inside}]."
            raise InputError(
                f"Unknown setting {key!r}.",
                where=where,
                how=names if inside else f"Known ones: {', '.join(known)}.",
            )
    chosen: dict[str, Any] = {}
    for key, default in known.items():
        name = f"{variable}_{key}".upper()
        if key in tables:
            inner = table.get(key, {})
            if not isinstance(inner, dict):
                raise InputError(f"{key!r} is a table of settings, not a value.", where=where)
            chosen[key] = {**default, **_chosen(inner, default, f"{where[:-1]}.{key}]", name)}
        elif name in os.environ:
            chosen[key] = _coerce(os.environ[name], default, name)
        elif key in table:
            chosen[key] = _coerce(table[key], default, f"{where} {key}")
    return chosen


def check_ranges(
    section: str, values: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> None:
    """Raise InputError for the first setting outside its range (bounds included)."""
    for name, (least, most) in ranges.items():
        value = values[name]
        if not least <= value <= most:
            raise InputError(
                f"{name} must be a number from {least} to {most}, got {value}.",
                where=f"[{section}] {name}",
            )


def check_origin(origin: str, where: str) -> None:
    """Raise InputError unless this is an origin: scheme, host and optionally a port."""
    try:
        parts = urlsplit(origin)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
        fine = fine and origin == f"{parts.scheme}://{parts.netloc}" and "@" not in origin
        fine = (
            fine and parts.port != 0 and all(sign.isalnum() or sign in ":/.-[]" for sign in origin)
        )
    except ValueError:
        fine = False
    if not fine:
        raise InputError(
            f"{origin!r} is not an origin.",
            where=where,
            how="Give scheme and host only, such as https://i.example.com.",
        )


def _coerce(value: Any, like: Any, where: str) -> Any:
    kind = type(like)
    try:
        if kind is bool and isinstance(value, str):
            return {"1": True, "true": True, "0": False, "false": False}[value.casefold()]
        if kind in (int, float) and not isinstance(value, bool):
            number = kind(value)
            if isinstance(value, str) or number == value:  # 2.5 is not a whole number
                return number
        elif isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    raise InputError(
        f"{value!r} is not a valid value for this setting.",
        where=where,
        how=f"Give {_WORDS.get(kind, f'a {kind.__name__}')}.",
    )
