"""What every encoding of items has in common, of a catalogue or of a data set.

That is: what the encoder reads of an item, as a hash, and what is held against its vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from omnisearch.data.catalogue.schema import CODE_FIELDS, TEXT_FIELDS
from omnisearch.data.catalogue.vector_files import unusable
from omnisearch.data.workspace.errors import Corrupt, InputError

HASH_BYTES = 16


class ItemsAndQueries(Protocol):
    """The part of `omnisearch.encoders.encoder.Encoder` that is used here."""

    checkpoint: str
    name: str
    dim: int
    feature_dims: dict[str, int]
    compat_spaces: dict[str, str]
    feature_models: dict[str, str]

    def copy_to(self, target: Path) -> None: ...
    def words(self) -> list[str]: ...
    def queries(self, texts: list[str]) -> np.ndarray: ...
    def items(
        self, items: list[dict[str, Any]], features: Mapping[str, np.ndarray]
    ) -> np.ndarray: ...
    def compat(self, space: str, vectors: np.ndarray) -> np.ndarray: ...


def check_feature(
    encoder: ItemsAndQueries, entity: str, name: str, dim: int, made_by: str | None
) -> None:
    """Raise InputError unless vectors of items are of the model that the encoder knows them from.

    Args:
        name: of the vectors, one of the encoder's `feature_dims`.
        dim: their dimension. made_by: the model that made them, None if they were imported.
    """
    expected = encoder.feature_dims[name]
    if dim != expected:
        raise InputError(
            f"The feature {name!r} of {entity} items has {dim} dimensions, "
            f"but the checkpoint was trained with {expected}.",
            where=f"checkpoint {encoder.checkpoint}",
            how="Run `omnisearch train` again, or import the vectors it was trained with.",
        )
    trained_with = encoder.feature_models.get(f"{entity}/{name}")
    if None not in (trained_with, made_by) and made_by != trained_with:
        raise InputError(
            f"The vectors {name!r} of {entity} items were made by another model than "
            "those the encoder was trained with.",
            where=f"checkpoint {encoder.checkpoint}",
            how="Run `omnisearch train`, then `omnisearch index build`.",
        )


def checked(
    encoder: ItemsAndQueries, entity: str, vectors: np.ndarray, ids: list[str], space: str
) -> np.ndarray:
    """The encoder's vectors of these items; zeros for those too short to have a direction.

    Raises:
        Corrupt: a vector is not finite, or they have a wrong shape; nothing is published then.
    """
    said = f"The checkpoint's vectors of space {space!r}"
    where = f"checkpoint {encoder.checkpoint}"
    how = "`omnisearch index verify` names damaged files. Then run `omnisearch train` again."
    if vectors.shape != (len(ids), encoder.dim):
        shape = f"{vectors.shape}, not {(len(ids), encoder.dim)}"
        raise Corrupt(f"{said} have the shape {shape}.", where=where, how=how)
    bad = unusable(vectors)
    if bad.size:
        raise Corrupt(
            f"{said} hold NaN or infinity, the first that of {entity} {ids[bad[0]]!r}.",
            where=where,
            how=how,
        )
    lengths = np.linalg.norm(vectors, axis=1)
    return np.where(np.abs(lengths - 1)[:, None] < 0.004, vectors, np.float32(0))


def text_of(entity: str, item: dict[str, Any]) -> bytes:
    """Everything that the encoder reads of an item's text, as bytes."""
    if entity == "query":
        return str(item["id"]).encode()
    engaged = [entry[0] for entry in item.get("engaged_queries") or ()]
    values = [engaged if name == "engaged_queries" else item.get(name) for name in TEXT_FIELDS]
    codes = [item.get(name) for name in CODE_FIELDS]
    return orjson.dumps(values + codes if any(codes) else values)


def digests(contents: Iterable[bytes]) -> np.ndarray:
    """The hash of each content, uint8 (n, 16)."""
    joined = b"".join(blake2b(content, digest_size=HASH_BYTES).digest() for content in contents)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, HASH_BYTES)
