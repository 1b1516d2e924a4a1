"""Replaces files of a data set so that it is whole at any moment, or says what to do.

New files are written beside the old ones (`pins.parquet.new-<key>`), which nobody reads. When all
are there, the manifest that names them is written as `next-manifest.json`: from then on the data
set is refused until the new files have their places and `manifest.json` is the new one. Whoever was
stopped before has changed nothing; whoever was stopped after is finished by the next.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from omnisearch.data.dataset.manifest import MANIFEST, NEXT, Manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.workspace.artefacts import entry_of
from omnisearch.data.workspace.leftovers import remove_leftovers_in

_NEW = re.compile(r"(.+\.parquet)\.new-[0-9a-f]{16}")


class Replacing:
    """New files for a data set.

    Args:
        manifest: of the data set as it is.
        key: 16 hex digits, of what the new files are made of: those that a run with the same key
            has left are used.
    """

    def __init__(self, place: Place, manifest: Manifest, key: str) -> None:
        self._place, self._manifest, self._suffix = place, manifest, f".new-{key}"
        self._entries: dict[str, dict[str, Any]] = {}
        with using(place):
            if place.folder is not None:
                remove_leftovers_in(place.folder, *place.folder.glob("entity=*"))
            for name in place.names():
                if _NEW.fullmatch(name) and not name.endswith(self._suffix):
                    place.remove(name)

    def left(self, name: str) -> bytes | None:
        """The new content of a file, if a run that was stopped has written it."""
        with using(self._place):
            content = self._place.read(name + self._suffix)
        if content is not None:
            self._entries[name] = entry_of(content)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Replace a file, or add it."""
        self._entries[name] = entry_of(content)
        with using(self._place):
            self._place.write(name + self._suffix, content)

    def finish(self, rows: dict[str, int]) -> None:
        """Put all new files in place; nothing if there are none.

        Args:
            rows: table → number of rows, of those that have another number now.
        """
        if not self._entries:
            return
        files = dict(sorted((self._manifest.files | self._entries).items()))
        new = replace(self._manifest, files=files, rows=self._manifest.rows | rows)
        with using(self._place):
            self._place.write(NEXT, new.content())
        finish_replacing(self._place)


def finish_replacing(place: Place) -> None:
    """Finish what was stopped after all new files were written; nothing if there is no such."""
    with using(place):
        content = place.read(NEXT)
        if content is None:
            return
        for name in place.names():
            if found := _NEW.fullmatch(name):
                place.move(name, found[1])
        place.write(MANIFEST, content)
        place.remove(NEXT)
