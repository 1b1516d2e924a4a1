"""Pictures of items: local files under /pictures/, remote ones from trusted origins."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.evaluation.pictures import (
    is_allowed,
    is_remote,
    local_picture,
    picture_folders,
    picture_kind,
)

MAX_BYTES = 20_000_000
# An SVG file can contain scripts: where a picture is opened as a page, it may only use its own
# styles.
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class PictureFile:
    """The content of a picture, its media type, and its ETag."""

    content: bytes
    kind: str
    tag: str


class Pictures:
    """The addresses of pictures in answers, and the files behind them.

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
        """Read from the catalogue again where the imported files lie. Blocks."""
        try:
            db = open_catalogue(self._workspace.catalogue)
            self.folders = tuple(picture_folders(db))
            db.conn.close()
        except (OmniError, sqlite3.Error, OSError, RuntimeError, TypeError, ValueError):
            return  # the index is served without its pictures

    def shown(self, hit: Any) -> str | None:
        """The address that a page may show of a hit, None where there is none."""
        return self.shown_as(hit.entity, hit.id, hit.image)

    def shown_as(self, entity: str, key: str, image: str | None) -> str | None:
        """The same for an item with this `image`."""
        if not image:
            return None
        if is_remote(image):
            return image if is_allowed(image, self.origins) else None
        return f"/pictures/{entity}/{quote(key, safe='')}"

    def read(self, live: Any, entity: str, key: str) -> PictureFile | None:
        """The picture of an item of the generation; None if there is none to show. Blocks.

        Only the file that the item names is read, only if it lies in one of `folders` after links
        are resolved, and only if its content is that of a picture.
        """
        table = live.generation.tables.get(entity)
        row = None if table is None or entity == "query" else table.row_of.get(key)
        if row is None:
            return None
        path = local_picture(table.display([row])[0].get("image") or "", self.folders)
        try:
            return None if path is None else _read(path)
        except OSError:  # unreadable
            return None


def _read(path: Path) -> PictureFile | None:
    found = path.stat()
    if found.st_size > MAX_BYTES:
        return None
    content = path.read_bytes()
    kind = picture_kind(content)
    return PictureFile(content, kind, f'"{found.st_mtime_ns:x}-{len(content):x}"') if kind else None
