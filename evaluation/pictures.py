"""Pictures for self-contained pages: local ones as data URIs, remote ones by URL."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import sqlite_utils

MAX_BYTES = 1 << 20  # larger files are not embedded, to keep pages small enough to send


@dataclass(frozen=True)
class Picture:
    """The value of `<img src>`; `remote` if the reader's browser would fetch it."""

    src: str
    remote: bool


def picture_folders(db: sqlite_utils.Database) -> list[Path]:
    """The folders of imported files, newest first: the bases of relative paths."""
    rows = db.conn.execute("SELECT file FROM imports ORDER BY id DESC")
    return list(dict.fromkeys(Path(file).parent for (file,) in rows))


def picture(image: str, folders: Sequence[Path]) -> Picture | None:
    """The picture an item's `image` names, or None if there is none that can be shown.

    A path is tried as given, then in each of `folders`. Only files whose content is a PNG, JPEG,
    GIF, WebP or SVG picture are embedded, whatever their name, so that a catalogue cannot embed
    other files of the machine in a page.
    """
    if not image:
        return None
    try:
        if urlsplit(image).scheme.lower() in ("http", "https"):
            return Picture(image, remote=True) if urlsplit(image).hostname else None
        for path in (Path(image), *(folder / image for folder in folders)):
            if path.is_file() and path.stat().st_size <= MAX_BYTES:
                content = path.read_bytes()
                kind = picture_kind(content)
                if kind:
                    encoded = base64.b64encode(content).decode("ascii")
                    return Picture(f"data:{kind};base64,{encoded}", remote=False)
    except (OSError, ValueError):  # unreadable files, paths with NUL, broken URLs
        pass
    return None


def picture_kind(content: bytes) -> str | None:
    """The media type of a PNG, JPEG, GIF, WebP or SVG from its first bytes; None for others."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!--")) and b"<svg" in head):
        return "image/svg+xml"
    return None
