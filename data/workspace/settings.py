"""Settings: `omnisearch.toml`, then the environment, then options, in rising order.

A section of settings is a frozen dataclass; its table in the file has the section's name, its
variables are `OMNISEARCH_<SECTION>_<FIELD>`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from omnisearch.data.workspace.errors import InputError

Section = TypeVar("Section")


def load_section(
    section: str,
    defaults: Section,
    path: Path,
    options: Mapping[str, Any] | None = None,
) -> Section:
    """`defaults` with the file at `path`, the environment and `options` laid over it.

    Values of None in `options` are options that were not given. Only plain fields (int, float,
    str, bool) can be set.

    Raises:
        InputError: unknown key, or a value of the wrong type; it names the file or the variable.
    """
    table: dict[str, Any] = {}
    if path.exists():
        try:
            table = tomllib.loads(path.read_text("utf-8")).get(section, {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"The settings file is not valid TOML ({error}).", where=str(path)
            ) from error
    if not isinstance(table, dict):
        raise InputError(
            f"{section!r} is a section, not a value.", where=str(path), how=f"Write [{section}]."
        )
    known = {field.name: getattr(defaults, field.name) for field in fields(defaults)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise InputError(
                f"Unknown setting {key!r}.",
                where=f"{path} [{section}]",
                how=f"Known ones: {', '.join(known)}.",
            )
    chosen = {
        key: _coerce(value, known[key], f"{path} [{section}] {key}") for key, value in table.items()
    }
    for key, default in known.items():
        variable = f"OMNISEARCH_{section}_{key}".upper()
        if variable in os.environ:
            chosen[key] = _coerce(os.environ[variable], default, variable)
    chosen |= {key: value for key, value in (options or {}).items() if value is not None}
    return replace(defaults, **chosen)  # type: ignore[type-var]


def check_ranges(section: str, settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise InputError for the first setting that lies outside its range, bounds included."""
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise InputError(
                f"{name} must be a number from {least} to {most}, got {value}.",
                where=f"[{section}] {name}",
            )


def _coerce(value: Any, like: Any, where: str) -> Any:
    kind = type(like)
    try:
        if kind is bool and isinstance(value, str):
            return {"1": True, "true": True, "0": False, "false": False}[value.casefold()]
        if kind in (int, float) and not isinstance(value, bool):
            number = kind(value)
            if isinstance(value, str) or number == value:  # 2.5 is no whole number
                return number
        elif isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    raise InputError(
        f"{value!r} is not a value for this setting.", where=where, how=f"Give a {kind.__name__}."
    )
