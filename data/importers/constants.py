"""Values of `--set` that no row could have are refused before a file is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.attributes import LEFT_OUT, read_attributes
from omnisearch.data.importers.campaigns import campaign_of
from omnisearch.data.importers.codes import is_code, such_as
from omnisearch.data.importers.columns import with_attributes
from omnisearch.data.importers.prices import Prices
from omnisearch.data.importers.rows import (
    FIELDS,
    ITEM_KINDS,
    SUCH_AS,
    QueryIds,
    inline_items,
    leave_out_unsafe_link,
    parser_of,
)
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace.errors import InputError

# A file may have other codes, as its shop uses them; one that is typed is more likely a mistake.
_CODES = {
    **dict.fromkeys(("language", "languages"), "language"),
    **dict.fromkeys(("country", "countries"), "country"),
}
_SHOWN = 80  # characters of a value


def check_constants(kind: str, constants: Mapping[str, str]) -> None:
    """Refuse values of --set that every row would be refused for, or taken without."""
    if not constants:
        return
    try:
        _check(kind, with_attributes(constants))
    except Refused as refused:
        ours = next((name for name in constants if _names(name, refused.field)), None)
        if ours is None:
            return  # it does not fit what a row may well have
        value = constants[ours]
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
        raise InputError(
            f"{ours} {refused.reason.removesuffix(LEFT_OUT)}: {shown!r}.",
            where="--set",
            how="No row can be taken with this value.",
        ) from None
    for ours, value in constants.items():
        if ours in _CODES:
            _check_code(ours, value)


def _check(kind: str, constants: dict[str, Any]) -> None:
    """Parse a row with the constants; raises Refused for what is refused or left out."""
    values = SUCH_AS | constants
    if kind == "campaigns":
        campaign_of({"bid": 1, "items": "product/x"} | values, _refuse)
        return
    if kind == "products" and "price" in values:
        values["price"], _ = Prices().read(values["price"], "price")
    record = parser_of(kind, QueryIds())(values)
    if kind in ITEM_KINDS:
        left_out = read_attributes(constants, frozenset(FIELDS[kind]), record)
        for refused in (*left_out, leave_out_unsafe_link(record)):
            if refused is not None:
                raise refused
    elif kind == "boards" and "items" in constants:
        inline_items("x", constants["items"])


def _names(ours: str, field: str) -> bool:
    return ours == field or field in with_attributes({ours: ""})


def _refuse(refused: Refused) -> None:
    raise refused


def _check_code(ours: str, value: str) -> None:
    thing = _CODES[ours]
    for each in v.parts(value, ours) or []:
        if not is_code(thing, str(each)):
            raise InputError(
                f"{each!r} is not the code of a {thing}.",
                where=f"--set {ours}",
                how=f"Write one such as {such_as(thing)}.",
            )
