"""What an experiment is: its variants, read from a TOML file and checked.

    name = "deeper-retrieval"
    actions = ["save", "add_to_cart", "checkout"]
    users = 20000

    [variants.control]

    [variants.deeper]
    share = 50
    engine = { l1_keep = 400 }

The first variant is the control. What a variant does not name is what is live.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.reading import check_shape
from omnisearch.engine.systems import SYSTEMS

BUCKETS = 1000  # that the users of an experiment are shared out to
NONE = "none"  # in place of rankers or rules: answer without any
SIGNIFICANT = ("save", "long_click", "add_to_cart", "checkout")
SPLIT, INTERLEAVE = "split", "interleave"
_MOST_VARIANTS = 10
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_FIELDS: dict[str, Any] = {
    "name": str,
    "about": str,
    "mode": str,
    "actions": [str],
    "users": int,
    "variants": dict,
}
_OF_VARIANT: dict[str, Any] = {
    "share": (int, float),
    "system": str,
    "generation": int,
    "rankers": str,
    "rules": (int, str),
    "engine": dict,
}


@dataclass(frozen=True)
class Variant:
    """One of the searches that are compared.

    Attributes:
        share: of the users, in proportion to the other variants' shares.
        system: of `SYSTEMS`.
        generation: its number; None follows the live one.
        rankers: the name of their folder in `rankers/`; empty follows the live ones, 'none'
            answers without.
        rules: the number of a version of the rules; None follows the live one, 'none' answers
            without.
        engine: settings of `[engine]` in place of those of the workspace.
    """

    name: str
    share: float = 1.0
    system: str = "full"
    generation: int | None = None
    rankers: str = ""
    rules: int | str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        variants: the first is the control.
        actions: those of significance: a search with one of them is fulfilled (§5.2).
        users: how many are expected in all. Intervals that may be looked at every day are the
            narrowest when so many have come, and hold at any time.
        mode: 'split' gives each user one variant; 'interleave' gives each a list of both variants'
            results in turns, and asks whose results they choose.
    """

    name: str
    variants: tuple[Variant, ...]
    actions: tuple[str, ...] = SIGNIFICANT
    users: int = 10_000
    about: str = ""
    mode: str = SPLIT

    @property
    def control(self) -> Variant:
        return self.variants[0]

    def buckets(self) -> list[int]:
        """The end of each variant's buckets, ascending; the last is BUCKETS."""
        shares = [variant.share for variant in self.variants]
        ends = [sum(shares[: place + 1]) / sum(shares) for place in range(len(shares))]
        return [round(BUCKETS * end) for end in ends]

    def shares(self) -> np.ndarray:
        """float64 (variants,) of the users, as the buckets have them; their sum is 1."""
        return np.diff(self.buckets(), prepend=0) / BUCKETS

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_experiment(content: bytes, where: str) -> Experiment:
    """The experiment of a TOML file; raises InputError, naming the field."""
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"This is not valid TOML ({error}).", where=where) from error
    return experiment_of(values, where)


def experiment_of(values: Mapping[str, Any], where: str) -> Experiment:
    """The experiment of a TOML file's values; raises InputError, naming the field."""
    _known(values, _FIELDS, where, "")
    name = values.get("name", "")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name must be 1 to 60 of a-z, 0-9 and -, got {name!r}.", where=where, how="Name it."
        )
    tables = values.get("variants", {})
    if not 2 <= len(tables) <= _MOST_VARIANTS:
        raise InputError(
            f"An experiment has 2 to {_MOST_VARIANTS} variants, got {len(tables)}.",
            where=where,
            how="Write each as [variants.NAME]; the first is the control.",
        )
    actions = tuple(values.get("actions", SIGNIFICANT))
    unknown = [action for action in actions if action not in ACTIONS or action == "impression"]
    if unknown or not actions:
        known = ", ".join(action for action in ACTIONS if action != "impression")
        raise InputError(f"actions must be some of {known}, got {unknown or 'none'}.", where=where)
    users = values.get("users", 10_000)
    if not 100 <= users <= 10**10:
        raise InputError(f"users must be from 100 to 10,000,000,000, got {users:,}.", where=where)
    variants = tuple(_variant(name, table, where) for name, table in tables.items())
    mode, about = values.get("mode", SPLIT), values.get("about", "")[:1000]
    found = Experiment(name, variants, actions, users, about, mode)
    if mode not in (SPLIT, INTERLEAVE):
        raise InputError(f"mode must be {SPLIT} or {INTERLEAVE}, got {mode!r}.", where=where)
    if mode == INTERLEAVE and len(variants) > 2:
        raise InputError(f"Two variants can be interleaved, got {len(variants)}.", where=where)
    _check_shares(found, where)
    return found


def _variant(name: str, table: Any, where: str) -> Variant:
    field = f"variants.{name}"
    if not _NAME.fullmatch(name):
        raise InputError(
            f"A variant's name must be 1 to 60 of a-z, 0-9 and -, got {name!r}.", where=where
        )
    if not isinstance(table, dict):
        raise InputError(f"{field} must be a table.", where=where, how=f"Write [{field}].")
    _known(table, _OF_VARIANT, where, f"{field}.")
    found = Variant(name, **table)
    if not 0 < found.share < 1e6:
        raise InputError(f"{field}.share must be above 0, got {found.share}.", where=where)
    if found.system not in SYSTEMS:
        known = f"Use one of {', '.join(SYSTEMS)}."
        raise InputError(f"{field}.system: no system {found.system!r}.", where=where, how=known)
    if isinstance(found.rules, str) and found.rules != NONE:
        raise InputError(
            f"{field}.rules must be a version's number or 'none', got {found.rules!r}.",
            where=where,
        )
    return found


def _known(values: Mapping[str, Any], fields: Mapping[str, Any], where: str, at: str) -> None:
    for name, value in values.items():
        if name not in fields:
            raise InputError(
                f"There is no field {at}{name}.", where=where, how=f"Fields: {', '.join(fields)}."
            )
        try:
            check_shape(value, fields[name], f"{at}{name}")
        except ValueError as error:
            how = "See docs/guide/experiments.md for how it is written."
            raise InputError(f"{error}.", where=where, how=how) from error


def _check_shares(experiment: Experiment, where: str) -> None:
    ends = [0, *experiment.buckets()]
    for variant, begin, end in zip(experiment.variants, ends, ends[1:], strict=False):
        if begin == end:
            raise InputError(
                f"variants.{variant.name}.share is below a thousandth of the users.", where=where
            )
