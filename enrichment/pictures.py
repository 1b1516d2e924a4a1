"""Reading the pictures of items: files under one folder, or http(s) URLs, with limits (§3.2.1)."""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from omnisearch.data.workspace.errors import MissingExtra

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
MAX_SIDE = 1536  # vision models use far fewer pixels; more only costs memory
TIMEOUT_SECONDS, TOTAL_SECONDS = 10, 60  # per response, per picture
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_OPENER = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
):
    _OPENER.add_handler(_handler())


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


def read_bytes(reference: str, root: Path | None) -> bytes:
    """The bytes behind an item's `image`: a URL, or a path relative to the folder `root`.

    Raises:
        Refused: neither, outside `root`, missing, empty, over MAX_BYTES, or a drawing (SVG).
    """
    scheme = reference.partition(":")[0].lower() if "://" in reference else ""
    if scheme in ("http", "https"):
        content = _fetch(reference)
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


def _fetch(url: str) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "omnisearch"})  # noqa: S310
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return _read_answer(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Refused(f"cannot be fetched ({error})") from error


def _read_answer(answer: http.client.HTTPResponse) -> bytes:
    """Up to one byte over MAX_BYTES; raises TimeoutError if the server is too slow."""
    end = time.monotonic() + TOTAL_SECONDS
    content = bytearray()
    while len(content) <= MAX_BYTES and (part := answer.read1(65_536)):
        content += part
        if time.monotonic() > end:
            raise TimeoutError(f"not complete after {TOTAL_SECONDS} s")
    return bytes(content)
