"""A folder that is watched: its new files are imported, and then the index is updated.

The folder is listed twice a second: that works on every system and on network disks, needs no
library, and costs a thousandth of a core for a thousand files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.detect import found_feed
from omnisearch.data.importers.files import kind_of
from omnisearch.data.importers.readers import format_of, passed_over, refuse_spreadsheet
from omnisearch.data.importers.rows import KINDS
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.vectors import vectors_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import explained
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import Busy, InputError
from omnisearch.data.workspace.files import legible, sha256_file
from omnisearch.data.workspace.paths import check_folder
from omnisearch.pipeline import importing, recipe
from omnisearch.pipeline.refresh_rules import encoder_name

POLL = 0.5  # seconds between two looks at the folder
SETTLED = 1.0  # seconds without a change after which a file is taken as written
AGAIN = 30.0  # seconds until what failed for a reason outside the file is tried again
_VECTORS = "vectors"

State = tuple[int, ...]  # inode, size and time of a file, and of the id list beside it


@dataclass
class Watch:
    """A folder being watched.

    Attributes:
        kind: of the rows of files whose names and columns do not tell it.
        seen: file → its state, and since when it has had it.
        done: file → the state in which it was imported, refused or left alone.
        torn: files that changed while they were imported.
        later: file → when it is tried again.
        said: what was told last of the index.
    """

    space: Workspace
    folder: Path
    kind: str | None
    tell: recipe.Tell
    stop: threading.Event
    seen: dict[Path, tuple[State, float]] = field(default_factory=dict)
    done: dict[Path, State] = field(default_factory=dict)
    torn: set[Path] = field(default_factory=set)
    later: dict[Path, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    update_at: float | None = 0.0  # None if the index has all that was imported

    @classmethod
    def of(
        cls, root: Path, folder: Path, kind: str | None, tell: recipe.Tell, stop: threading.Event
    ) -> Watch:
        """The watch of a folder that exists; raises InputError."""
        if not folder.is_dir():
            raise InputError(
                "This is not a folder." if folder.exists() else "There is no such folder.",
                where=str(folder),
                how="Name the folder that files are put into.",
            )
        if kind is not None and kind not in KINDS:
            known = f"Use one of {', '.join(KINDS)}."
            raise InputError(f"Unknown kind of rows {kind!r}.", where="--kind", how=known)
        check_folder(root)
        return cls(Workspace(root), folder, kind, tell, stop)

    def run(self) -> None:
        """Watch until `stop` is set."""
        self.tell(f"Watching {self.folder}.")
        while not self.stop.is_set():
            for path, state in self.settled():
                if self.stop.is_set():
                    return
                self.take(path, state)
            if not self.stop.is_set():
                self.update()
            self.stop.wait(POLL)

    def settled(self) -> list[tuple[Path, State]]:
        """Files to import: those that have had a new state for a while, items before their log."""
        now = time.monotonic()
        found = dict(self._files())
        self.seen = {
            path: self.seen[path] if self.seen.get(path, (None,))[0] == state else (state, now)
            for path, state in found.items()
        }
        ready = [
            path
            for path, (state, since) in self.seen.items()
            if now - since >= SETTLED
            and self.done.get(path) != state
            and self.later.get(path, 0.0) <= now
        ]
        kinds = {path: self._kind(path) for path in ready}
        for path in ready:
            if kinds[path] is None:
                self._leave(path, found[path])
        ours = [(path, kind) for path, kind in kinds.items() if kind]
        return [(path, found[path]) for path, _ in sorted(ours, key=_order)]

    def _files(self) -> Iterator[tuple[Path, State]]:
        try:
            paths = list(self.folder.iterdir())
        except OSError:  # removed, or a disk that is away: it may come back
            return
        for path in paths:
            if not passed_over(path) and path.is_file():
                state = _state(path)
                if state:
                    yield path, state

    def _kind(self, path: Path) -> str | None:
        """The kind of a file's rows, or 'vectors'; None if neither name nor columns tell it."""
        if vectors_of(path):
            return _VECTORS
        if kind := kind_of(path):
            return kind
        feed = found_feed(path)
        return feed.kind if feed else (self.kind if format_of(path) else None)

    def _leave(self, path: Path, state: State) -> None:
        """Leave a file alone until it changes."""
        self.done[path] = state
        try:
            refuse_spreadsheet(path)
        except InputError as refused:
            self.tell(f"{legible(path.name)} was not imported: {refused}")
        if format_of(path) not in (None, "txt"):  # of pictures and notes nothing is expected
            self.tell(
                f"{legible(path.name)} was left alone: neither its name nor its columns tell what "
                "its rows are. Name it by its kind, such as products.csv, or give --kind."
            )

    def take(self, path: Path, state: State) -> None:
        """Import a file, unless it was imported as it is before this watch began."""
        self.later.pop(path, None)
        shown = legible(path.name)
        try:
            if shown != path.name:
                raise InputError("Its name is not UTF-8.", how="Rename it.")
            if path not in self.done and path not in self.torn and self._imported(path):
                self.done[path] = state
                return
            report = self._import(path)
        except Exception as error:  # whatever is wrong with one file, the others are imported
            if not path.exists():  # it was taken away
                return
            known = explained(error, "import")
            if isinstance(known, InputError):
                self.done[path] = state
            else:
                self.later[path] = time.monotonic() + AGAIN
            self.tell(f"{shown} was not imported: {known}")
            return
        refused = f", {report.refused:,} refused, see {report.rejects}" if report.refused else ""
        values = f", {counted(report.left_out, 'value')} left out" if report.left_out else ""
        rows = counted(report.rows, "row")
        self.tell(f"{shown}: {rows}, {report.changed:,} changed{values}{refused}.")
        if report.changed:
            self.update_at = 0.0
        if _state(path) == state:
            self.done[path] = state
            self.torn.discard(path)
        else:
            self.torn.add(path)

    def _import(self, path: Path) -> Report:
        named = vectors_of(path)
        if named:
            name, entity = named
            return importing.import_files(self.space, [path], vectors=name, entity=entity)[0]
        return importing.import_files(self.space, [path], kind=self._kind(path))[0]

    def _imported(self, path: Path) -> bool:
        if not self.space.catalogue.exists():
            return False
        with closing(open_catalogue(self.space.catalogue).conn) as connection:
            last = connection.execute(
                "SELECT sha256 FROM imports WHERE file = ? ORDER BY id DESC LIMIT 1",
                [str(path.absolute())],
            ).fetchone()
        return last is not None and last[0] == sha256_file(path)

    def update(self) -> None:
        """Update the index, if it is time; what goes wrong is told once and tried again."""
        if self.update_at is None or self.update_at > time.monotonic():
            return
        if not self.space.catalogue.exists():
            self.update_at = None
            return
        told: list[str] = []
        before = self._live()
        try:
            recipe.update_index(self.space, encoder_name(self.space), tell=told.append)
            self.update_at = None
        except Busy:
            self.update_at = time.monotonic() + SETTLED
            return
        except Exception as error:  # the imports go on
            self.update_at = time.monotonic() + AGAIN
            told = [f"The index was not updated: {explained(error, 'index update')}"]
        for sentence in told:
            if sentence not in self.said:
                self.tell(sentence)
        self.said = told
        if self._live() != before:
            self.tell(f"Published generation {self._live()}.")

    def _live(self) -> str:
        current = self.space.current
        return current.read_text("utf-8", "replace").strip() if current.exists() else ""


def _order(file: tuple[Path, str]) -> tuple[int, str]:
    path, kind = file
    return (len(KINDS) if kind == _VECTORS else KINDS.index(kind), path.name)


def _state(path: Path) -> State | None:
    """The state of a file, with that of an id list beside it; None if it is gone."""
    beside = [path.with_suffix(suffix) for suffix in (".ids", ".txt")] if vectors_of(path) else []
    try:
        stats = [path.stat(), *(each.stat() for each in beside if each.exists())]
    except OSError:
        return None
    return tuple(value for stat in stats for value in (stat.st_ino, stat.st_size, stat.st_mtime_ns))
