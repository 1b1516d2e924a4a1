"""`Importer` and `Feed`: the registry entries of data sets and feeds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.registry import load_function

if TYPE_CHECKING:
    from omnisearch.data.importers.files import ImportOptions
    from omnisearch.data.importers.transaction import Report
    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.progress import Progress

    Read = Callable[[Workspace, Path, Progress | None], list[Report]]

# By its name, because it imports this module.
_IMPORT_FEED = "omnisearch.data.importers.feeds.feed_file:import_feed"


@dataclass(frozen=True)
class Importer:
    """What `omnisearch import PATH --format <name>` reads.

    Attributes:
        name: the word after `--format`.
        about: one line for help texts.
        function: "module:function", imported on its first call. It takes the workspace, the folder
            or file, and a Progress or None, and returns a Report for each file and kind.
    """

    name: str
    about: str
    function: str

    def read(
        self,
        workspace: Workspace,
        path: Path,
        progress: Progress | None = None,
        options: ImportOptions | None = None,
    ) -> list[Report]:
        """Import the folder or file; raises InputError if it is not in this format."""
        if options is not None and (
            options.constants or options.delimiter or options.mapping or options.encoding
        ):
            raise InputError(
                f"The format {self.name!r} has columns of its own.",
                where="--set, --map, --delimiter and --encoding",
                how="Leave them out.",
            )
        from omnisearch.data.importers.transaction import noting

        read: Read = load_function(self.function, f"format {self.name!r}")
        with noting(workspace):
            return read(workspace, path, progress)


@dataclass(frozen=True)
class Feed(Importer):
    """A file of a shop system, whose rows are read as rows of one kind.

    Attributes:
        function: "module:function"; it takes a `feeds.feed_file.FeedFile` and returns our rows.
        kind: the kind of these rows.
        headers: names that the columns of such a file have, as its publisher writes them; `a|b` is
            one of the two.
    """

    kind: str = "products"
    headers: tuple[str, ...] = ()

    def read(
        self,
        workspace: Workspace,
        path: Path,
        progress: Progress | None = None,
        options: ImportOptions | None = None,
    ) -> list[Report]:
        import_feed = load_function(_IMPORT_FEED, "feeds")
        return [import_feed(self, workspace, path, progress, options)]

    def has(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns, folded, is one."""
        from omnisearch.data.importers.columns import folded

        return bool(self.headers) and all(
            any(folded(name) in columns for name in header.split("|")) for header in self.headers
        )
