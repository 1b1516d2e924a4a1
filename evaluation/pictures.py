"""Which pictures of items may be shown, and pictures for self-contained pages.

Only files in the folders of imported files are read, and only pictures of allowed origins are
loaded from elsewhere: the service and the pages that the command line writes agree on that.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
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
    rows = db.conn.execute(
        "SELECT file FROM imports WHERE format IS NOT 'feedback' ORDER BY id DESC"
    )
    return list(dict.fromkeys(Path(file).parent.resolve() for (file,) in rows))


def picture(
    image: str, folders: Sequence[Path], origins: Collection[str] = frozenset()
) -> Picture | None:
    """The picture an item's `image` names, or None if there is none that can be shown.

    Only files whose content is a PNG, JPEG, GIF, WebP or SVG picture are embedded, whatever their
    name, so that a catalogue cannot embed other files of the machine in a page.

    Args:
        folders: where local pictures lie. origins: from which remote ones may be loaded.
    """
    if is_remote(image):
        return Picture(image, remote=True) if is_allowed(image, origins) else None
    try:
        path = local_picture(image, folders)
        if path is not None and path.stat().st_size <= MAX_BYTES:
            content = path.read_bytes()
            kind = picture_kind(content)
            if kind:
                encoded = base64.b64encode(content).decode("ascii")
                return Picture(f"data:{kind};base64,{encoded}", remote=False)
    except OSError:  # unreadable
        pass
    return None


def is_remote(image: str) -> bool:
    """Whether an item's `image` is an http(s) URL and not a path."""
    return image[:8].lower().startswith(("http://", "https://"))


def is_allowed(url: str, origins: Collection[str]) -> bool:
    """Whether a picture is from one of `origins`, such as https://i.example.com."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" in origins


def local_picture(image: str, folders: Sequence[Path]) -> Path | None:
    """The file that an item's `image` names, if it lies in one of `folders`; links are resolved."""
    if not image or "://" in image[:10]:
        return None
    try:
        for folder in folders:
            path = (folder / image).resolve()
            if any(path.is_relative_to(each) for each in folders) and path.is_file():
                return path
    except (OSError, ValueError):  # unreadable, or a path with NUL
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
