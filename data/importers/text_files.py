"""Opens text files, gzipped or not, as UTF-8: one in an older encoding is recoded while it is read.

A file says that it is UTF-16 by its byte order mark or by its NULs, and that it is UTF-8 by being
valid. What is left is taken for Windows-1252, the encoding of Western Excel and of older shop
systems, unless its letters speak against it: a byte that Windows-1252 does not have, signs or
capitals within words, and whole words of letters beyond ASCII come from Cyrillic, Greek, Chinese
and other encodings. They differ in nothing that is certain, so the user has to name them. A file
of UTF-8 with a few wrong bytes stays UTF-8: the values that have them are refused one by one.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from omnisearch.data.workspace.errors import InputError

SAMPLE = 64 * 1024  # bytes of a file that are looked at for its form
UTF_8 = "utf-8"
_WESTERN = "cp1252"
_CHUNK = 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NULS = 0.05  # of the characters of UTF-16 are at least ASCII: delimiters, digits, line ends
_ODD = 0.1  # of the letters beyond ASCII may be unusual in Windows-1252, or by chance valid UTF-8
_LETTERS = 1_000_000  # beyond ASCII are looked at for it
_NOT_WESTERN = re.compile(
    rb"[\x80-\xff]{3,}"
    rb"|[\x81\x8d\x8f\x90\x9d]"
    rb"|(?<=[a-z])[\x80\x82\x84\x86-\x89\x8b\x93\x94\x98\x9b\xa1-\xa5\xa7-\xaa\xac\xaf-\xb3\xb6"
    rb"\xb8-\xba\xbc-\xbf\xd7\xf7\x8a\x8c\x8e\x9f\xc0-\xd6\xd8-\xde](?=[a-z])"
)
_WORD = re.compile(r"[\w’'-]{0,20}[^\W\x00-\x7f][\w’'-]{0,20}")
_ASCII = bytes(range(128))
_SHOWN = 3  # words that the report shows
_SUCH_AS = "such as windows-1250, windows-1251, shift_jis or gb18030"


class Encoding(NamedTuple):
    """An encoding by Python's name for it; `words` of the file as they are read in it, if it was
    decided by its letters."""

    name: str
    words: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What the report of an import says of it."""
        if self.name == UTF_8:
            return []
        if self.name != _WESTERN:
            return [f"It is not UTF-8: it was read as {self.name[:6].upper()}."]
        shown = ", ".join(self.words)
        seen = f" ({shown}). If these words are wrong, import it with --encoding" if shown else ""
        return [f"It is not UTF-8: it was read as Windows-1252{seen}."]


def open_bytes(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """The file, and its content, which may be gzipped."""
    raw = path.open("rb")
    zipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    if not zipped:
        return raw, raw
    return raw, io.BufferedReader(gzip.GzipFile(fileobj=raw, mode="rb"))  # type: ignore[arg-type]


def open_text(path: Path, encoding: str) -> tuple[BinaryIO, BinaryIO]:
    """The file, and its text in UTF-8, of which a byte order mark is left."""
    raw, file = open_bytes(path)
    if encoding == UTF_8:
        return raw, file
    return raw, io.BufferedReader(_Recoded(file, encoding), SAMPLE)


@contextmanager
def opened_text(
    path: Path, errors: str = "strict", newline: str | None = None
) -> Iterator[io.TextIOWrapper]:
    """The text without a byte order mark, in the encoding that is found; see `open` of Python."""
    raw, file = open_text(path, encoding_of(path).name)
    with raw, file, io.TextIOWrapper(file, "utf-8-sig", errors, newline) as text:
        yield text


def read_sample(path: Path, encoding: str) -> bytes:
    """The first SAMPLE bytes of its text in UTF-8."""
    raw, file = open_text(path, encoding)
    with raw, file, damage_told(path):
        return file.read(SAMPLE)


def encoding_of(path: Path, given: str | None = None) -> Encoding:
    """The encoding of a file: the given one, or else as it is found in the whole file.

    Raises:
        InputError: the given one is not known, or none was found; the file is damaged.
    """
    if given is not None:
        return Encoding(checked_encoding(given))
    stat = path.stat()
    return _found(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def checked_encoding(given: str) -> str:
    """Python's name of the encoding of an option; InputError if it is not one of texts."""
    try:
        codecs.getincrementaldecoder(given)
        name = codecs.lookup(given).name
        "id\n".encode(name).decode(name)
    except (LookupError, ValueError):
        raise InputError(
            f"There is no encoding {given!r}.", where="--encoding", how=f"Name one, {_SUCH_AS}."
        ) from None
    return UTF_8 if name == "utf-8-sig" else name


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn errors of a damaged gzip file, and of a text that its encoding cannot have, into
    InputError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError, UnicodeError) as error:
        raise InputError(
            f"The file is damaged or truncated ({error}).",
            where=str(path),
            how="Fetch or write it again; nothing of this file was imported.",
        ) from error


@lru_cache(maxsize=1000)  # a file is opened several times for one import
def _found(path: Path, *_changed: int) -> Encoding:
    sample = read_sample(path, UTF_8)
    marked = next((name for mark, name in _MARKS if sample.startswith(mark)), None)
    if name := marked or _by_nuls(sample):
        return Encoding(name)
    if _is_utf8(path):
        return Encoding(UTF_8)
    return _by_letters(path)


def _by_nuls(sample: bytes) -> str | None:
    """UTF-16 and UTF-32 without a mark: each ASCII character has NULs at the same places."""
    if sample[:3] == b"\0\0\0" or sample[1:4] == b"\0\0\0":
        return "utf-32-be" if sample[:1] == b"\0" else "utf-32-le"
    nuls, ends = (sample[0::2].count(0), sample[1::2].count(0)), sample.count(b"\n")
    if min(nuls) or max(nuls) <= _NULS * len(sample) / 2:
        return None
    if nuls[0]:
        return "utf-16-be" if sample.count(b"\0\n") == ends else None
    return "utf-16-le" if sample.count(b"\n\0") == ends else None


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder(UTF_8)()
    raw, file = open_bytes(path)
    with raw, file, damage_told(path):
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            return False
    return True


def _by_letters(path: Path) -> Encoding:
    """UTF-8 with wrong bytes, or Windows-1252; InputError if it is neither."""
    multiple, wrong, looked_at, odd = 0, 0, 0, 0
    words: dict[str, None] = {}
    raw, file = open_bytes(path)
    with raw, file, damage_told(path):
        while chunk := file.read(_CHUNK):
            chunk += file.readline(SAMPLE)  # a character is not cut
            valid = chunk.decode(UTF_8, "ignore")
            multiple += len(valid) - len(valid.encode("ascii", "ignore"))
            wrong += len(chunk) - len(valid.encode())
            if looked_at < _LETTERS:
                looked_at += len(chunk.translate(None, _ASCII))
                odd += sum(map(len, _NOT_WESTERN.findall(chunk)))
            if len(words) < _SHOWN and not chunk.isascii():
                found = _WORD.finditer(chunk.decode(_WESTERN, "replace"))
                words |= dict.fromkeys(word[0] for word in islice(found, 1000))
    if multiple >= wrong:
        return Encoding(UTF_8)
    if odd > looked_at * _ODD or multiple > wrong * _ODD:
        raise InputError(
            "The file is neither UTF-8 nor Windows-1252.",
            where=str(path),
            how=f"If it is text, save it as UTF-8, or import it with --encoding, {_SUCH_AS}.",
        )
    return Encoding(_WESTERN, tuple(list(words)[:_SHOWN]))


class _Recoded(io.RawIOBase):
    """The text of a file in UTF-8. What its encoding does not have stays as it is, or becomes a
    lone surrogate: no UTF-8 either, so that the values that have it are refused."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        wide = encoding.startswith(("utf-16", "utf-32"))
        self._errors = "surrogatepass" if wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = self._file.read(SAMPLE)
            text = self._decoder.decode(chunk, not chunk)
            self._left = text.encode(UTF_8, self._errors)
            if not chunk:
                break
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()
