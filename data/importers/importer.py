"""`Importer`: the registry entry of a data set or a feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnisearch.data.workspace.registry import load_function

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
        function: "module:function", imported on its first call. It takes the workspace, the folder
            or file, and a Progress or None, and returns a Report for each file and kind.
    """

    name: str
    about: str
    function: str

    def read(
        self, workspace: Workspace, path: Path, progress: Progress | None = None
    ) -> list[Report]:
        """Import the folder or file; raises InputError if it is not in this format."""
        read: Read = load_function(self.function, f"format {self.name!r}")
        return read(workspace, path, progress)
