"""The syntax of filters: one in Python, on the command line, over HTTP and on the pages.

`colour=red|blue`, `price<30`, `price>=10`, `category=Shoes > Running` (and all below), and a flag
by its name alone: `vegan`, `in_stock`. A `|` or a backslash that belongs to a value has a backslash
before it. What is in a generation is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from omnisearch.data.importers.attributes import attribute_name
from omnisearch.data.workspace.errors import InputError

MOST_FILTERS = 32
MOST_VALUES = 100
LONGEST = 2_000  # characters

_FORM = re.compile(r"(?P<name>[^=<>]+?)\s*(?:(?P<op><=|>=|=|<|>)\s*(?P<rest>.*))?", re.DOTALL)
_BETWEEN = re.compile(r"(?:\\[\\|]|[^|])+")  # what stands between the | of a list of values
_HOW = "Write colour=red|blue, price<30, category=Shoes > Running, or in_stock."


@dataclass(frozen=True)
class Condition:
    """One condition that an item must meet.

    Attributes:
        name: of the attribute, in lower_snake.
        op: '=', '<', '<=', '>' or '>='.
        values: for '=' any of them will do; otherwise there is one.
    """

    name: str
    op: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}{self.op}{'|'.join(map(_escaped, self.values))}"


def filter_by(name: str, value: str) -> str:
    """The filter that keeps the items with this value of an attribute, whatever is in it."""
    return str(Condition(name, "=", (value,)))


@lru_cache(maxsize=10_000)
def condition_of(text: str) -> Condition:
    """Read one filter; raises InputError with the syntax if it is none."""
    found = _FORM.fullmatch(text.strip()) if len(text) <= LONGEST else None
    name = attribute_name(found["name"]) if found else ""
    if found is None or not name:
        raise InputError(f"{text[:100]!r} is no filter.", where="filter", how=_HOW)
    if found["op"] is None:
        return _FLAGS.get(name) or Condition(name, "=", ("true",))
    parts = map(_unescaped, _BETWEEN.findall(found["rest"]))
    values = tuple(dict.fromkeys(filter(None, map(str.strip, parts))))
    if not values or len(values) > MOST_VALUES or (found["op"] != "=" and len(values) > 1):
        what = f"{text[:100]!r} has {len(values) or 'no'} values."
        raise InputError(what, where=f"filter {name}", how=_HOW)
    return Condition(name, found["op"], values)


def _escaped(value: str) -> str:
    return re.sub(r"[\\|]", r"\\\g<0>", value)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\|])", r"\1", text)


# What a name alone means, if it is not the flag of that name.
_FLAGS = {"in_stock": Condition("availability", "=", ("in_stock",))}
