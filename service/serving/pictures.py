"""Pictures of items: local files by a path of this service, remote ones by origins one trusts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.evaluation.pictures import picture_kind

MAX_BYTES = 20_000_000
# A picture may style itself and nothing else, even where it is opened as a page: an SVG drawing
# can hold scripts.
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class PictureFile:
    """A picture's content, its media type, and a tag that changes when it does."""

    content: bytes
    kind: str
    tag: str


class Pictures:
    """What an answer says of an item's picture, and the files behind it.

    Attributes:
        origins: from which remote pictures may be shown.
        folders: those of the imported files, newest first. A relative path starts there, and no
            file outside them is read.
    """

    def __init__(self, origins: str, workspace: Workspace) -> None:
        self.origins = frozenset(origins.split())
        self._workspace = workspace
        self.folders: tuple[Path, ...] = ()

    def refresh(self) -> None:
        """Look again where the catalogue's files lie. Blocks."""
        try:
            db = open_catalogue(self._workspace.catalogue)
            rows = db.conn.execute(
                "SELECT file FROM imports WHERE format IS NOT 'feedback' ORDER BY id DESC"
            ).fetchall()
            db.conn.close()
        except (OmniError, sqlite3.Error):  # the index is served without its pictures
            return
        self.folders = tuple(dict.fromkeys(Path(file).parent.resolve() for (file,) in rows))

    def shown(self, hit: Any) -> str | None:
        """The address that a page may show of a hit, None where there is none."""
        return self.shown_as(hit.entity, hit.id, hit.image)

    def shown_as(self, entity: str, key: str, image: str | None) -> str | None:
        """The same, of an item whose `image` this is."""
        if not image:
            return None
        if image[:8].lower().startswith(("http://", "https://")):
            try:
                parts = urlsplit(image)
            except ValueError:
                return None
            return image if f"{parts.scheme}://{parts.netloc}" in self.origins else None
        return f"/pictures/{entity}/{quote(key, safe='')}"

    def read(self, live: Any, entity: str, key: str) -> PictureFile | None:
        """The picture of an item of the generation, None where there is none to show. Blocks.

        Only the file that the item names, only inside `folders` however it is written or linked,
        and only if its content is that of a picture.
        """
        table = live.generation.tables.get(entity)
        row = None if table is None or entity == "query" else table.row_of.get(key)
        if row is None:
            return None
        image = table.display([row])[0].get("image")
        if not image or "://" in image[:10]:
            return None
        try:
            for folder in self.folders:
                path = (folder / image).resolve()
                if any(path.is_relative_to(each) for each in self.folders) and path.is_file():
                    return _read(path)
        except (OSError, ValueError):  # unreadable, or a path with NUL
            pass
        return None


def _read(path: Path) -> PictureFile | None:
    found = path.stat()
    if found.st_size > MAX_BYTES:
        return None
    content = path.read_bytes()
    kind = picture_kind(content)
    return PictureFile(content, kind, f'"{found.st_mtime_ns:x}-{len(content):x}"') if kind else None
