"""Data sets in their publishers' own formats; labels become judgments and derived engagement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.data.importers.transaction import Report
    from omnisearch.data.workspace.progress import Progress

PUBLISHED = ("esci", "home_depot", "tate", "coco", "iconclass", "beir")


def import_published(
    workspace: Workspace, folder: Path, name: str, progress: Progress | None = None
) -> list[Report]:
    """Import a folder that holds one of PUBLISHED; raises InputError for an unknown name."""
    from omnisearch.data.importers.datasets import coco, esci, home_depot, iconclass, tate
    from omnisearch.data.importers.datasets.beir import import_beir

    run = {
        "esci": esci.import_esci,
        "home_depot": home_depot.import_home_depot,
        "tate": tate.import_tate,
        "coco": coco.import_coco,
        "iconclass": iconclass.import_iconclass,
        "beir": import_beir,
    }.get(name)
    if run is None:
        raise InputError(f"Unknown format {name!r}.", how=f"One of {', '.join(PUBLISHED)}.")
    return run(workspace, Path(folder), progress)
