"""Registries: the extension points of OmniSearch, by kind and name.

The kinds are `sources`, `systems`, `features`, `spaces`, `enrichers`, `datasets` and `feeds`.
Another package adds an entry by calling `register`, or by an entry point of the group
`omnisearch.<kind>`, which is read when the registry is first used:

    [project.entry-points."omnisearch.sources"]
    newest = "shop.search:NEWEST"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any, Generic, Protocol, TypeVar

from omnisearch.data.workspace.errors import InputError


class Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=Named)


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries of one kind by name: built-in ones in order, then those of plug-ins."""

    def __init__(self, kind: str, entries: Iterable[Entry] = ()) -> None:
        """`kind` is a plural, such as 'sources'; plug-ins are not loaded yet."""
        self.kind = kind
        self._entries = {entry.name: entry for entry in entries}
        self._complete = False

    def register(self, entry: Entry) -> Entry:
        """Add an entry and return it; raises InputError if its name is taken."""
        if entry.name in self._entries:
            raise InputError(
                f"There are two {self.kind} called {entry.name!r}.",
                where=f"omnisearch.{self.kind}",
                how="Rename the new one.",
            )
        self._entries[entry.name] = entry
        return entry

    def remove(self, name: str) -> None:
        """Remove an entry."""
        del self._entries[name]

    def named(self, name: str, where: str = "") -> Entry:
        """The entry of this name, or an InputError with the known names."""
        if name not in self:
            raise InputError(
                f"There is no {name!r} among the {self.kind}.",
                where=where or self.kind,
                how=f"Use one of {', '.join(self)}.",
            )
        return self[name]

    def __getitem__(self, name: str) -> Entry:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def values(self) -> ValuesView[Entry]:
        """The entries; a search asks often, and a mapping's own would look each of them up."""
        return self._all().values()

    def _all(self) -> dict[str, Entry]:
        if not self._complete:
            self._complete = True  # set first: a plug-in may use the registry while it is loaded
            try:
                points = entry_points(group=f"omnisearch.{self.kind}")
                for entry in [self._load(point) for point in points]:
                    self.register(entry)
            except InputError:
                self._complete = False
                raise
        return self._entries

    def _load(self, point: EntryPoint) -> Entry:
        try:
            return point.load()
        except Exception as error:  # a plug-in may raise anything
            raise InputError(
                f"The plug-in {point.value!r} cannot be loaded ({error}).",
                where=f"entry point {point.name!r} of omnisearch.{self.kind}",
                how="Update or uninstall the package that provides it.",
            ) from error


def load_function(function: str, where: str) -> Callable[..., Any]:
    """The function that "module:function" names; its module is imported now.

    Raises:
        InputError: it cannot be imported; `where` says whose it is.
    """
    try:
        return resolve_name(function)
    except Exception as error:  # whatever another package's code raises
        raise InputError(
            f"{function!r} cannot be loaded ({error}).",
            where=where,
            how='It must be "module:function". Update or uninstall the package that provides it.',
        ) from error
