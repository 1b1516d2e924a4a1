"""Which items of a segment's table have their words and vectors in it, and what these are made of.

Of an item whose price or stock changes, an update writes a row of the table alone: its words and
vectors stay where they are. They are the same as long as their digest is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import load, save_file

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.encoding import HASH_BYTES
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.suggest_write import Text, suggested_of
from omnisearch.indexer.parts.tokens import OWN_FIELDS, item_line

CONTENT_FILE = "content.safetensors"


@dataclass(frozen=True)
class ItemContent:
    """What an item is found by, but for its vectors.

    Attributes:
        line: its tokens, see `item_line`. text: its own texts, whose words spelling knows.
        suggested: see `suggested_of`.
    """

    line: str
    text: str
    suggested: dict[Text, int]


def content_of(item: dict[str, Any]) -> ItemContent:
    """What is made of an item of the catalogue."""
    text = "\n".join(field_texts(item, OWN_FIELDS))
    return ItemContent(item_line(item), text, suggested_of(item))


def digest_of(vectors: np.ndarray, content: ItemContent | None = None) -> bytes:
    """The digest, HASH_BYTES long, of what an item is found by.

    Args:
        vectors: uint8 (HASH_BYTES,), the digest of what its vectors are made of.
        content: None of a query.
    """
    digest = blake2b(vectors.tobytes(), digest_size=HASH_BYTES)
    if content is not None:
        suggested = list(content.suggested.items())
        digest.update(orjson.dumps([content.line, content.text, suggested]))
    return digest.digest()


def write_content(folder: Path, rows: np.ndarray, digests: Sequence[bytes]) -> None:
    """Store the rows of the table int64 (c,), ascending, and the c digests."""
    joined = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, HASH_BYTES)
    save_file({"rows": rows, "digests": joined}, folder / CONTENT_FILE)


def read_content(
    path: Path, content: bytes, table: int, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows int64 (c,) and digests uint8 (c, HASH_BYTES) of the file's content; raises Corrupt.

    Args:
        table: the rows of the table. count: how many there must be; None for any.
    """
    with reading("The list of items with content", path, REBUILD):
        columns = load(content)
        rows, digests = columns["rows"], columns["digests"]
        check_array("rows", rows, np.int64, (count,))
        check_array("digests", digests, np.uint8, (len(rows), HASH_BYTES))
        if len(rows) and not 0 <= int(rows[0]) <= int(rows[-1]) < table:
            raise ValueError("rows are out of range")
        if not (np.diff(rows) > 0).all():
            raise ValueError("rows do not ascend")
        return rows, digests
