"""`watch`: imports the files of a folder as they arrive, then updates the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

from omnisearch.pipeline.opened import WorkspaceLike, root_of


def watch(
    workspace: WorkspaceLike,
    folder: Path | str,
    *,
    kind: str | None = None,
    tell: Callable[[str], None],
    stop: Event,
) -> None:
    """Import the files of a folder as they arrive and update the index, until `stop` is set.

    Files there already are imported too, unless they were. A file counts as written when it has not
    changed for a second; names that begin with '.' or end in .tmp or .part are left alone. What a
    file holds is told by its name, else by its columns if a shop system wrote it, else by `kind`.
    A file that changes is imported again. After `stop` the import or update under way is finished.
    The workspace is created if needed.

    Args:
        kind: of the rows of files whose names and columns do not tell it; without it they are left
            alone.
        tell: called with a sentence on each import, each file refused or left alone, and each
            update.

    Raises:
        InputError: the folder does not exist, or the kind is unknown.
    """
    from omnisearch.pipeline.watched_folder import Watch

    Watch.of(root_of(workspace), Path(folder), kind, tell, stop).run()
