"""Items of an RSS or Atom feed in XML, read as a stream; nothing but one item is in memory.

A document type is refused: it can define entities that grow without bound or name other files, and
no feed needs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from omnisearch.data.importers.source import MAX_LINE, Row, Source
from omnisearch.data.importers.text_files import UTF_8, checked_encoding, open_bytes, open_text
from omnisearch.data.workspace.errors import InputError

_CHUNK = 256 * 1024
_ITEMS = ("item", "entry")  # of RSS and of Atom


def is_xml(path: Path) -> bool:
    """Whether the file is XML, by its first bytes."""
    try:
        raw, file = open_bytes(path)
        with raw, file:
            head = file.read(200)
    except (OSError, EOFError):
        return False
    head = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip(b"\xff\xfe \t\r\n")
    return head.startswith(b"<")


def open_xml(path: Path, encoding: str | None = None) -> Source:
    """The items of a feed: values by the elements' names without `g:`, texts or lists of texts.

    The file says its encoding, unless one is given.

    Raises:
        InputError: there is no such file, or while it is read: it is not well-formed, has a
            document type, or an item is longer than 16 MiB.
    """
    try:
        raw, file = open_text(path, checked_encoding(encoding)) if encoding else open_bytes(path)
    except OSError as error:
        raise InputError(f"The file cannot be read ({error.strerror}).", where=str(path)) from error
    size = path.stat().st_size
    rows = _rows(path, raw, file, UTF_8 if encoding else None)
    return Source("xml", rows, None, size, lambda: size if raw.closed else raw.tell())


def _rows(path: Path, raw: BinaryIO, file: BinaryIO, encoding: str | None) -> Iterator[Row]:
    items = _Items(path, encoding)
    with raw, file:
        try:
            while chunk := file.read(_CHUNK):
                items.parser.Parse(chunk, False)
                yield from items.take()
            items.parser.Parse(b"", True)
            yield from items.take()
        except _NoDocumentType:
            raise InputError(
                "The file has a document type (<!DOCTYPE>), which feeds do not need.",
                where=f"{path}, line {items.parser.CurrentLineNumber}",
                how="Remove it: it could define texts that grow without bound.",
            ) from None
        except (expat.ExpatError, EOFError, OSError, LookupError, ValueError) as error:
            raise InputError(
                f"The file is not well-formed XML ({error}).",
                where=str(path),
                how="Write it again, or give --encoding if its first line names a wrong one; "
                "nothing of this file was imported.",
            ) from error


class _NoDocumentType(Exception):
    pass


class _Items:
    """Collects the direct children of each item. A child's own children are not read."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self._path = path
        self.parser = expat.ParserCreate(encoding)
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._found: list[Row] = []
        self._values: dict[str, Any] | None = None
        self._depth = self._line = self._size = 0  # depth within the item
        self._words: list[str] = []

    def take(self) -> list[Row]:
        found, self._found = self._found, []
        return found

    def _refuse(self, *_: Any) -> None:
        raise _NoDocumentType

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if self._values is None:
            if local in _ITEMS:
                self._values, self._depth, self._size = {}, 0, 0
                self._line = self.parser.CurrentLineNumber
            return
        self._depth += 1
        self._words = []
        href = attributes.get("href")  # of Atom's links
        if self._depth == 1 and href and attributes.get("rel", "alternate") == "alternate":
            self._add(local, href)

    def _text(self, text: str) -> None:
        if self._values is None or self._depth != 1:
            return
        self._size += len(text)
        if self._size > MAX_LINE:
            where = f"{self._path}, line {self._line}"
            raise InputError("An item is longer than 16 MiB.", where=where, how="Shorten it.")
        self._words.append(text)

    def _end(self, name: str) -> None:
        if self._values is None:
            return
        local = name.rpartition(":")[2]
        if self._depth == 0:
            self._found.append(Row(self._line, self._values, None, "", self._size))
            self._values = None
            return
        if self._depth == 1 and (text := "".join(self._words).strip()):
            self._add(local, text)
        self._words = []
        self._depth -= 1

    def _add(self, name: str, text: str) -> None:
        values = self._values
        assert values is not None
        if name not in values:
            values[name] = text
        elif type(values[name]) is list:
            values[name].append(text)
        else:
            values[name] = [values[name], text]
