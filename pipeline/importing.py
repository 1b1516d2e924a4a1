"""The first stage: files into the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.paths import check_folder
from omnisearch.pipeline.opened import WorkspaceLike, root_of

if TYPE_CHECKING:
    from omnisearch.data.importers.files import ImportOptions
    from omnisearch.data.importers.importer import Feed
    from omnisearch.data.importers.transaction import Report
    from omnisearch.data.workspace.progress import Progress

FEEDBACK = Path("feedback")  # the word, unless a file has this name


def import_files(
    workspace: WorkspaceLike,
    paths: Sequence[Path | str],
    *,
    kind: str | None = None,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    vectors: str | None = None,
    entity: str = "pin",
    ids: Path | None = None,
    bits: bool = False,
    strict: bool = False,
    constants: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    progress: Progress | None = None,
    reports: list[Report] | None = None,
) -> list[Report]:
    """Import files, folders of conventional names, or 'feedback'; creates the workspace if needed.

    'feedback' means the events and judgments that `omnisearch serve` has collected.

    Args:
        kind: of the rows, such as 'pins'; by default from the file's name.
        format: of the paths: of a data set or a shop system, such as 'esci' or 'shopify', or of a
            plain file, such as 'csv'; by default a shop system's is known by its columns.
        mapping: our field → the file's column, such as {"title": "product_title"}.
        vectors: the paths are item vectors with this name, such as 'pinsage', of the `entity`.
        ids: the id list of an `.npy` file of vectors; by default the file beside it.
        bits: the vectors are packed bits, 8 dimensions of 0 or 1 a byte.
        strict: refuse the whole file if any row or value is bad.
        constants: our field → its value in every row, such as {"entity": "product"}.
        delimiter: what separates the columns of tables; by default it is found in each file.
        encoding: of texts, such as 'windows-1251'; by default it is found in each file.
        reports: gets the report of each file when it is imported, so that an error of a later one
            leaves known what was taken before it.

    Returns:
        A report for each file: rows taken, changed, and refused with the reasons.

    Raises:
        InputError: a path does not exist (nothing was imported), a file as a whole is unusable, or
            `strict` is set and a row was refused (nothing was imported from that file).
    """
    from omnisearch.data.importers.feedback import import_feedback
    from omnisearch.data.importers.files import ImportOptions, import_file
    from omnisearch.data.importers.folders import import_folder
    from omnisearch.data.importers.formats import format_named
    from omnisearch.data.importers.readers import FORMATS
    from omnisearch.data.importers.vectors import import_vectors

    plain = format in FORMATS
    importer = None if format is None or plain else format_named(format)
    options = ImportOptions(
        mapping=dict(mapping or {}),
        strict=strict,
        format=format if plain else None,
        constants=dict(constants or {}),
        delimiter=delimiter,
        encoding=encoding,
    )
    files = [Path(path) for path in paths]
    for path in files:
        if not path.exists() and path != FEEDBACK:
            raise InputError("There is no such file or folder.", where=str(path))
    rows = {"--kind": kind, "--map": mapping, "--set": constants}
    rows |= {"--delimiter": delimiter, "--encoding": encoding}
    of_vectors = {"--ids": ids, "--bits": bits, "--entity": entity != "pin"}
    if vectors is None:
        how = f"Name vectors with --vectors NAME; rows get their entity by --set entity={entity}."
        _refuse_unread(of_vectors, "This is for vectors.", how)
    else:
        _refuse_unread(rows | {"--format": format}, "Vectors are no rows of a kind.")
    if FEEDBACK in files and not FEEDBACK.exists():
        _refuse_unread(rows | {"--format": format}, "Feedback is read as the service wrote it.")
    if importer is not None:
        _refuse_unread({"--kind": kind}, f"The format {format!r} has kinds of its own.")
    elif any(path.is_dir() for path in files):
        _refuse_unread({"--kind": kind}, "A folder's files have their kinds in their names.")
    space = Workspace(root_of(workspace))  # a file that can be read makes the folder
    check_folder(space.root)
    reports = [] if reports is None else reports
    for path in files:
        if importer is not None:
            reports += importer.read(space, path, progress, options)
        elif vectors is not None:
            reports.append(
                import_vectors(space, path, vectors, entity, ids, strict, progress, bits)
            )
        elif path == FEEDBACK and not path.exists():
            reports += import_feedback(space, progress)
        elif path.is_dir():
            import_folder(space, path, options, progress, reports)
        elif feed := _feed(path, kind, options):
            reports += feed.read(space, path, progress, options)
        else:
            reports.append(import_file(space, path, kind, options, progress))
    return reports


def _refuse_unread(options: Mapping[str, object], why: str, how: str = "Leave it out.") -> None:
    """Raise InputError for an option that was given and that nothing would read."""
    for option, given in options.items():
        if given:
            raise InputError(why, where=option, how=how)


def _feed(path: Path, kind: str | None, options: ImportOptions) -> Feed | None:
    """The feed that a file is by its columns, unless it was said how to read it."""
    from omnisearch.data.importers.detect import found_feed
    from omnisearch.data.importers.files import kind_of

    said = kind or kind_of(path)
    if options.mapping or options.format or said not in (None, "products", "engagements"):
        return None
    feed = found_feed(path, options.delimiter, options.encoding)
    return feed if feed and said in (None, feed.kind) else None
