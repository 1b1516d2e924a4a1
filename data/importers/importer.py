"""`Importer`: the entry of a data set or a feed in its registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.data.importers.transaction import Report
    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.progress import Progress

    Read = Callable[[Workspace, Path, Progress | None], list[Report]]


@dataclass(frozen=True)
class Importer:
    """What `omnisearch import PATH --format <name>` reads.

    Attributes:
        name: the word after `--format`.
        about: one line for help texts.
        function: "module:function", imported when it is first called: it takes the workspace, the
            folder or file, and a Progress or None, and returns a Report for each file and kind.
    """

    name: str
    about: str
    function: str

    def read(
        self, workspace: Workspace, path: Path, progress: Progress | None = None
    ) -> list[Report]:
        """Import the folder or file; raises InputError where it is not in this format."""
        try:
            read: Read = resolve_name(self.function)
        except Exception as error:  # whatever the module of another package raises
            raise InputError(
                f"{self.function} cannot be loaded ({error}).",
                where=f"format {self.name!r}",
                how="Update the package that brings it, or uninstall it.",
            ) from error
        return read(workspace, path, progress)
