"""Reading the pictures of items: files under one folder, or http(s) URLs, with limits (§3.2.1)."""

from __future__ import annotations

import http.client
import io
import urllib.error
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from omnisearch.data.workspace.errors import MissingExtra
from omnisearch.enrichment import fetching
from omnisearch.enrichment.fetching import MAX_BYTES, Origins

MAX_PIXELS = 50_000_000
MAX_SIDE = 1536  # vision models use far fewer pixels; more only costs memory
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


class Refused(Exception):
    """A picture was refused; the message says why."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture and the sha256 of the bytes it came from.

    `image` is a PIL image in RGB.
    """

    sha256: str
    image: Any


def require_pillow() -> None:
    """Raise InputError if the extra for decoding pictures is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Pillow, which reads pictures,", "images") from error


def read_bytes(reference: str, root: Path | None, allowed: Origins = frozenset()) -> bytes:
    """The bytes behind an item's `image`: a URL, or a path relative to the folder `root`.

    Hosts without a public address are only fetched from if they are `allowed`.

    Raises:
        Refused: neither, outside `root`, missing, empty, over MAX_BYTES, or a drawing (SVG).
    """
    scheme = reference.partition(":")[0].lower() if "://" in reference else ""
    if scheme in ("http", "https"):
        content = _fetch(reference, allowed)
    elif scheme:
        raise Refused(f"{scheme}: addresses are not fetched, only http and https")
    else:
        content = _read_file(reference, root)
    if not content:
        raise Refused("the file is empty")
    if len(content) > MAX_BYTES:
        raise Refused(f"larger than {MAX_BYTES // 1_000_000} MB")
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!")) and b"<svg" in head):
        raise Refused("SVG is a drawing, not pixels: convert it to PNG or JPEG")
    return content


def decode(content: bytes) -> Picture:
    """The picture in `content`; the first frame of an animation.

    Raises:
        Refused: not one of FORMATS, damaged, or more than MAX_PIXELS.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Refused(f"{image.width} x {image.height} is over {MAX_PIXELS:,} pixels")
            pixels = image.convert("RGB")
            pixels.thumbnail((MAX_SIDE, MAX_SIDE))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Refused("not a readable picture (JPEG, PNG, WebP, GIF or BMP)") from error
    return Picture(sha256(content).hexdigest(), pixels)


def _read_file(reference: str, root: Path | None) -> bytes:
    if root is None:
        raise Refused("a file name, but no folder of images was given")
    try:
        path = (root / reference).resolve()
        if not path.is_relative_to(root.resolve()):
            raise Refused("outside the folder of images")
        if not path.is_file():
            raise Refused("there is no such file")
        if path.suffix.lower() == ".svgz":
            raise Refused("SVG is a drawing, not pixels: convert it to PNG or JPEG")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Refused(f"cannot be read ({error})") from error


def _fetch(url: str, allowed: Origins) -> bytes:
    try:
        return fetching.fetch(url, allowed)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if type(error) is urllib.error.URLError else error
        raise Refused(f"cannot be fetched ({reason})") from error
