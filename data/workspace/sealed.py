"""A file that vouches for its content: one line of JSON with its form and sha256, then the rest.

It is for what is one file, is replaced as a whole, and must not be believed once it was damaged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.reading import load_json, reading

_HEAD = {"what": str, "format": int, "sha256": str}


@dataclass(frozen=True)
class Sealed:
    """One kind of such files.

    Attributes:
        what: its name in error messages, "The campaigns". again: what to do about a damaged one.
    """

    what: str
    format: int
    again: str

    def write(self, path: Path, content: bytes) -> None:
        """Replace the file at `path`; a crash leaves the old one or the new one."""
        head = {"what": self.what, "format": self.format, "sha256": _digest(content)}
        write_atomic(path, orjson.dumps(head) + b"\n" + content)

    def read(self, path: Path) -> bytes | None:
        """The content; None if there is no file. Raises Corrupt if it is not as written."""
        try:
            whole = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            what = f"{self.what} cannot be read ({error.strerror})."
            raise Corrupt(what, where=str(path), how=self.again) from error
        with reading(self.what, path, self.again):
            head, _, content = whole.partition(b"\n")
            said = load_json(head, _HEAD)
            if said["what"] != self.what:
                raise ValueError("it is another file")
            if said["format"] != self.format:
                raise ValueError(f"it has version {said['format']}, this program {self.format}")
            if said["sha256"] != _digest(content):
                raise ValueError("its hash differs")
            return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
