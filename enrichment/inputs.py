"""What the vectors of items are made of, and its hash for each item.

`omnisearch status` compares these hashes with those in the catalogue, so nothing here imports
PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.catalogue.schema import table_of
from omnisearch.data.catalogue.vectors import MADE_BYTES, ItemVectors
from omnisearch.data.workspace import Workspace

# The fields of the feature 'text'.
FIELDS = ("title", "brand", "caption", "description", "colours", "materials", "product_types")
PROSE = ("title", "caption", "description")

# Graph network → modality → its text fields.
MODALITIES: dict[str, dict[str, tuple[str, ...]]] = {
    "pinsage": {"own": ("title", "description", "caption")},
    "itemsage": {
        "title": ("title",),
        "description": ("description", "caption"),
        "attributes": (
            *("brand", "colours", "materials", "patterns", "size", "product_types", "domain"),
        ),
        "queries": ("engaged_queries",),
    },
}

EMPTY = b"\1" * MADE_BYTES  # instead of a hash, for an item without any input but neighbours

Item = dict[str, Any]


def own_text(item: Item) -> str:
    """The text of an item for the pretrained encoder, the most informative fields first."""
    return ". ".join(field_texts(item, FIELDS))


def texts_of(item: Item) -> list[str]:
    """The embedded texts of an item: its whole text, then each prose field alone."""
    whole = own_text(item)
    return [whole, *field_texts(item, PROSE)] if whole else []


def text_hash(item: Item) -> bytes | None:
    """The hash of what an item's text vector is made of; None without any text."""
    texts = texts_of(item)
    return hash_of(texts) if texts else None


def pictures_of(item: Item) -> list[str]:
    """The names or addresses of an item's pictures, the one shown first."""
    return list(dict.fromkeys(filter(None, [item.get("image"), *(item.get("more_images") or ())])))


def pictures_hash(references: Sequence[str]) -> bytes | None:
    """The hash of what an item's image vector is made of; None without pictures."""
    if len(references) == 1:  # as before items had several
        return hash_of(references[0])
    return hash_of(references) if references else None


def graph_hash(item: Item, name: str, features: Mapping[str, ItemVectors]) -> bytes:
    """The hash of an item's own inputs to a graph network, without its neighbours; or EMPTY.

    Args:
        name: of the network, 'pinsage' or 'itemsage'.
        features: the item vectors that the network reads.
    """
    texts = [field_texts(item, fields) for fields in MODALITIES[name].values()]
    rows = {key: feature.index.get(item["id"]) for key, feature in sorted(features.items())}
    if not any(texts) and all(row is None for row in rows.values()):
        return EMPTY
    vectors = [
        b"" if row is None else features[key].vectors[row].tobytes() for key, row in rows.items()
    ]
    return hash_of(texts, *vectors)


def graph_identity(workspace: Workspace, name: str, features: Iterable[str]) -> str:
    """What makes the vectors of a graph network: its folder, and the features that it reads."""
    pointer = workspace.current_network(name)
    network = pointer.read_text("utf-8", errors="replace").strip() if pointer.exists() else ""
    return orjson.dumps({"network": network, "features": sorted(features)}).decode()


def hash_of(value: Any, *parts: bytes) -> bytes:
    """16 bytes that change with a JSON value or with any of the parts."""
    digest = blake2b(orjson.dumps(value), digest_size=MADE_BYTES)
    for part in parts:
        digest.update(blake2b(part, digest_size=MADE_BYTES).digest())
    return digest.digest()


def hash_rows(hashes: Iterable[bytes | None]) -> np.ndarray:
    """Uint8 (n, 16), as `write_vectors` takes it."""
    joined = b"".join(each or bytes(MADE_BYTES) for each in hashes)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, MADE_BYTES)


def is_current(feature: ItemVectors, item_id: str, made: bytes | None) -> bool:
    """Whether the row of an item is of its current input, or was imported."""
    row = feature.index.get(item_id)
    if row is None or feature.made is None:
        return row is not None
    found = feature.made[row].tobytes()
    return found == made or not any(found)


def stale_captions(db: sqlite_utils.Database, entity: str) -> list[str]:
    """The items whose caption was made here, of a picture that they no longer show."""
    rows = db.conn.execute(
        f"SELECT item.id FROM machine_captions made JOIN {table_of(entity)} item "
        "ON item.id = made.item_id WHERE made.entity = ? AND item.caption = made.caption "
        "AND item.image IS NOT made.image",
        [entity],
    )
    return [item_id for (item_id,) in rows]
