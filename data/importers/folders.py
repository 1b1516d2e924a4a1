"""`import_folder`: files of conventional names and exports of shop systems in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.importers.detect import found_feed
from omnisearch.data.importers.files import ImportOptions, import_file, kind_of
from omnisearch.data.importers.readers import passed_over, refuse_spreadsheet
from omnisearch.data.importers.rows import KINDS
from omnisearch.data.importers.transaction import Report, noting
from omnisearch.data.importers.vectors import import_vectors, vectors_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.paths import TRUTH
from omnisearch.data.workspace.progress import Progress

_OF_FEEDS = (None, "products", "engagements")  # kinds that a name gives, where columns say more


def import_folder(
    workspace: Workspace,
    folder: Path,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
    reports: list[Report] | None = None,
) -> list[Report]:
    """Import the files of a folder that have conventional names, each as `import_file` does, and
    exports of shop systems under any name.

    `<kind>.<format>` and `<kind>-<part>.<format>` in the order of KINDS, then
    `vectors-<name>-<entity>.npy` (with `.ids` beside it) or `.parquet`. A `meta.json` with
    {"synthetic": true} marks the catalogue as synthetic, and the truth of a sample world beside it
    is kept for evaluation. Hidden and temporary files are passed over, other files named in the
    first report. `reports`, if given, gets the report of each file when it is imported.

    Raises:
        InputError: as `import_file`, or the folder has no such file, or a mapping is given.
    """
    options = options or ImportOptions()
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("There is no such folder.", where=str(folder))
    if options.mapping:
        raise InputError(
            "A mapping applies to the columns of one file, not to a folder.",
            where="--map",
            how="Import the file by its own path.",
        )
    files = sorted(path for path in folder.iterdir() if path.is_file() and not passed_over(path))
    if not files:
        raise InputError(
            "The folder has no file with a conventional name, such as pins.jsonl: it has no files, "
            "or only hidden and temporary ones.",
            where=str(folder),
            how="Put files in it, or name the folder that has them.",
        )
    vectors = [(named, path) for path in files if (named := vectors_of(path))]
    may_be = [path for path in files if kind_of(path) in _OF_FEEDS]
    feeds = {path: found_feed(path, options.delimiter, options.encoding) for path in may_be}
    kinds = {path: feed.kind for path, feed in feeds.items() if feed and not kind_of(path)}
    rows = sorted(
        ((kind, path) for path in files if (kind := kind_of(path) or kinds.get(path))),
        key=lambda pair: (KINDS.index(pair[0]), pair[1].name),
    )
    if not rows and not vectors:
        for path in files:
            refuse_spreadsheet(path)
        raise InputError(
            "The folder has no file with a conventional name, such as pins.jsonl, and no export of "
            "a shop system.",
            where=str(folder),
            how="Name the files by their kind, or import them one by one with --kind.",
        )
    reports = [] if reports is None else reports
    others = _left_aside(files, [*rows, *vectors])
    with noting(workspace):
        synthetic = _mark_synthetic(workspace, folder)
        for kind, path in rows:
            feed = feeds.get(path)
            if feed is not None and feed.kind == kind:
                [report] = feed.read(workspace, path, progress, options)
            else:
                report = import_file(workspace, path, kind, options, progress)
            reports.append(_naming(report, others))
            others = []
        for (name, entity), path in vectors:
            strict = options.strict
            report = import_vectors(workspace, path, name, entity, strict=strict, progress=progress)
            reports.append(_naming(report, others))
            others = []
    if synthetic and (truth := folder / TRUTH).is_file():
        write_atomic(workspace.truth, truth.read_bytes())
    return reports


def _left_aside(files: list[Path], read: list[Any]) -> list[str]:
    """Files of the folder that were not imported, beside those that belong to others."""
    known = {path for _, path in read}
    beside = {path.with_suffix(suffix) for path in known for suffix in (".ids", ".txt")}
    others = sorted({*files} - known - beside)
    return [path.name for path in others if path.name not in ("meta.json", TRUTH)]


def _naming(report: Report, names: list[str]) -> Report:
    """The report with the names of files that were left aside."""
    if not names:
        return report
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else "")
    note = f"Other files of the folder were not imported: {shown}."
    return replace(report, notes=(*report.notes, note))


def _mark_synthetic(workspace: Workspace, folder: Path) -> bool:
    """Mark the catalogue if the folder says that it is synthetic; returns whether it does."""
    path = folder / "meta.json"
    if not path.is_file():
        return False
    try:
        meta = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"meta.json cannot be read ({error}).", where=str(path)) from error
    if not isinstance(meta, dict) or meta.get("synthetic") is not True:
        return False
    workspace.root.mkdir(parents=True, exist_ok=True)
    db = open_catalogue(workspace.catalogue, create=True)
    with db.conn:
        set_meta(db, "synthetic", True)
    db.conn.close()
    return True
