"""`encode_file`: one bucket of a data set in, one file of vectors out.

What comes out depends on the bucket's content and the checkpoint alone, to the last byte, whoever
computes it and however often (on one kind of processor: others may round otherwise). The file's
metadata has the hash of both, so that a file which is there already is not computed again.

    entity=pin/bucket=007/encoded.parquet   id, learned, and a column for each compatibility space;
                                            vectors are unit float32, null where an item has none
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from omnisearch.data.catalogue.items import decoded
from omnisearch.data.catalogue.schema import table_of
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.dataset.layout import TABLES
from omnisearch.data.dataset.place import Place, place_at, using
from omnisearch.data.dataset.tables import read_table
from omnisearch.data.workspace.artefacts import entry_of
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.encoders.checkpoint import open_encoder
from omnisearch.indexer.encoding import ItemsAndQueries, checked, digests, text_of

ENCODED = "encoded.parquet"
_FORMAT = b"1"
_AT_ONCE = 4096


@dataclass(frozen=True)
class Task:
    """One bucket to encode.

    Attributes:
        source, target: the data set, and where the vectors go.
        folder: the bucket in both, such as 'entity=pin/bucket=007'.
        files: the bucket's files → sha256.
        checkpoint: the folder of the checkpoint. identity: its hash.
        known: the sha256 of the file that an earlier run wrote, None if it is not known.
    """

    source: str
    target: str
    folder: str
    files: dict[str, str]
    checkpoint: Path
    identity: str
    known: str | None = None

    @property
    def entity(self) -> str:
        return self.folder.split("/")[0].removeprefix("entity=")


@dataclass(frozen=True)
class Done:
    """What became of a task: the rows, the file's manifest entry, and whether it was encoded."""

    rows: int
    entry: dict[str, Any]
    encoded: bool


@dataclass(frozen=True)
class _Bucket:
    """What is read of a bucket.

    Attributes:
        vectors: name → float32 (n, d), zeros where an item has none, and bool (n,): which have one.
    """

    ids: list[str]
    items: list[dict[str, Any]]
    vectors: dict[str, tuple[np.ndarray, np.ndarray]]


def encode_task(task: Task) -> Done:
    """Encode a bucket in this process, with one thread; the encoder is kept for the next one."""
    torch.set_num_threads(1)
    return encode_file(_encoder(task.checkpoint, task.identity), task)


@lru_cache(maxsize=1)
def _encoder(folder: Path, identity: str) -> ItemsAndQueries:
    encoder = open_encoder(folder, folder.parent.name)
    if encoder.checkpoint != identity:
        raise Corrupt(
            f"This is the checkpoint {encoder.checkpoint}, not {identity}.",
            where=str(folder),
            how="Give every machine the same checkpoints, then run the command again.",
        )
    return encoder


def encode_file(encoder: ItemsAndQueries, task: Task) -> Done:
    """Encode a bucket, unless its vectors are there already.

    Raises:
        Corrupt: a file is damaged, or a vector is not finite.
        Unavailable: a place cannot be read or written.
    """
    source, target = place_at(task.source), place_at(task.target)
    bucket = _read(encoder, source, task)
    described = {
        b"format": _FORMAT,
        b"checkpoint": encoder.checkpoint.encode(),
        b"content": _content_hash(task.entity, bucket),
    }
    name = f"{task.folder}/{ENCODED}"
    with using(target):
        there = target.read(name)
    if there is not None and _is_it(there, described, task.known):
        return Done(len(bucket.ids), entry_of(there), False)
    content = _file(bucket.ids, _encoded(encoder, task.entity, bucket), described)
    with using(target):
        target.write(name, content)
    return Done(len(bucket.ids), entry_of(content), True)


def _read(encoder: ItemsAndQueries, source: Place, task: Task) -> _Bucket:
    table = table_of(task.entity)
    name = f"{task.folder}/{table}.parquet"
    rows = read_table(source, task.files, name, TABLES[table].schema).to_pylist()
    ids = [row["id"] for row in rows]
    if task.entity == "query":
        return _Bucket(ids, rows, {})
    place = {key: row for row, key in enumerate(ids)}
    spaces = {name for name, entity in encoder.compat_spaces.items() if entity == task.entity}
    vectors = {}
    for name in sorted(encoder.feature_dims.keys() | spaces):
        file = f"{task.folder}/vectors-{name}.parquet"
        if file in task.files:
            vectors[name] = _vectors(read_table(source, task.files, file), place)
    return _Bucket(ids, [decoded(row) for row in rows], vectors)


def _vectors(table: pa.Table, place: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    column = table.column("vector").combine_chunks()
    given = column.flatten().to_numpy().reshape(len(table), column.type.list_size)
    rows = np.array([place.get(key, -1) for key in table.column("id").to_pylist()], np.int64)
    found = np.zeros((len(place), given.shape[1]), np.float32)
    found[rows[rows >= 0]] = given[rows >= 0]  # items may be gone that have vectors
    has = np.zeros(len(place), bool)
    has[rows[rows >= 0]] = True
    return found, has


def _content_hash(entity: str, bucket: _Bucket) -> bytes:
    """The hash of everything that the file is made of, in hex."""
    digest = blake2b(digest_size=16)
    digest.update("\n".join(bucket.ids).encode())
    digest.update(digests(text_of(entity, item) for item in bucket.items).tobytes())
    for name, (rows, has) in bucket.vectors.items():
        digest.update(name.encode() + has.tobytes() + np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest().encode()


def _is_it(content: bytes, described: dict[bytes, bytes], known: str | None) -> bool:
    """Whether a file that is there is what would be written."""
    if known is not None and hashlib.sha256(content).hexdigest() != known:
        return False
    try:
        metadata = pq.read_schema(pa.BufferReader(content)).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return all(metadata.get(key) == value for key, value in described.items())


def _encoded(
    encoder: ItemsAndQueries, entity: str, bucket: _Bucket
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Space → float32 (n, dim) unit rows, and bool (n,): which items have one."""
    count = len(bucket.ids)
    learned = np.zeros((count, encoder.dim), np.float32)
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        if entity == "query":
            vectors = encoder.queries(bucket.ids[part])
        else:
            features = {
                name: rows[part]
                for name, (rows, _) in bucket.vectors.items()
                if name in encoder.feature_dims
            }
            vectors = encoder.items(bucket.items[part], features)
        learned[part] = checked(encoder, entity, vectors, bucket.ids[part], LEARNED)
    found = {LEARNED: (learned, np.asarray(learned.any(axis=1)))}
    for name, of in sorted(encoder.compat_spaces.items()):
        if of == entity and name in bucket.vectors:
            rows, has = bucket.vectors[name]
            mapped = np.zeros((count, encoder.dim), np.float32)
            if has.any():
                keys = [key for key, there in zip(bucket.ids, has.tolist(), strict=True) if there]
                mapped[has] = checked(encoder, entity, encoder.compat(name, rows[has]), keys, name)
            found[name] = mapped, np.asarray(mapped.any(axis=1))
    return found


def _file(
    ids: list[str], found: dict[str, tuple[np.ndarray, np.ndarray]], described: dict[bytes, bytes]
) -> bytes:
    arrays = {"id": pa.array(ids, pa.string())}
    for space, (vectors, has) in found.items():
        flat = pa.array(vectors.ravel())
        arrays[space] = pa.FixedSizeListArray.from_arrays(
            flat, vectors.shape[1], mask=pa.array(~has)
        )
    table = pa.table(arrays).replace_schema_metadata(described)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())
