"""Languages and countries: their codes, and names that a file has in the place of codes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from omnisearch.data.importers.catalogue_writer import Numbered
from omnisearch.data.workspace.counts import counted

_CODES = {
    "language": (r"[a-z]{2,3}", "en or pt-BR"),
    "country": (r"[a-z]{2,3}|\d{3}", "US or DE"),
}
_SUBTAGS = r"([-_][a-z0-9]{1,8})*"


def is_code(thing: str, value: str) -> bool:
    """Whether a 'language' or a 'country' has the form of a code, such as en, pt-BR or US."""
    form, _ = _CODES[thing]
    return bool(re.fullmatch(f"({form}){_SUBTAGS}", value.strip(), re.IGNORECASE | re.ASCII))


def such_as(thing: str) -> str:
    """Two codes, to show."""
    return _CODES[thing][1]


class NoCodes:
    """Counts the rows of a file whose language or country is no code. They are taken as they are:
    a shop may have codes of its own."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def see(self, block: list[Numbered]) -> None:
        """Count those of the records that were read."""
        for thing in _CODES:
            for value, rows in Counter(record.get(thing) for _, record in block).items():
                if value:
                    self.see_values(thing, [value], rows)

    def see_values(self, thing: str, values: Iterable[str], rows: int = 1) -> None:
        """Count rows that have these languages or countries."""
        wrong = [value for value in values if not is_code(thing, value)]
        if wrong:
            self._rows[thing] += rows
            self._first.setdefault(thing, wrong[0])

    def notes(self) -> Iterator[str]:
        """A sentence for each column."""
        for thing, rows in self._rows.items():
            yield (
                f"The {thing} of {counted(rows, 'row')} is not a code such as {such_as(thing)}, "
                f"but for example {self._first[thing]!r}. It was taken as it is; filters and "
                f"matching by {thing} do not work with it. Write codes, and import the file again."
            )
