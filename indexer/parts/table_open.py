"""Opening an entity type's table (`omnisearch.indexer.parts.table`), and checking what is read."""

from __future__ import annotations

from operator import lt
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.reading import check_array, load_json, load_lines, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.attributes import Column, open_attributes
from omnisearch.indexer.parts.table import (
    CODED,
    COLUMNS_FILE,
    DISPLAY_FILE,
    IDS_FILE,
    VOCABULARY_FILE,
    Codes,
    ItemTable,
    Posting,
    Postings,
    Shown,
)
from omnisearch.indexer.parts.words import Words, ascends, check_ends, spans

# Column → type and shape; n is the number of rows, None any number.
_ROWS, _ANY = -1, None
_COLUMNS: dict[str, tuple[Any, tuple[int | None, ...]]] = {
    "price": (np.float32, (_ROWS,)),
    "created_at": (np.int64, (_ROWS,)),
    "is_ad": (bool, (_ROWS,)),
    "full_name": (np.uint64, (_ROWS,)),
    **{name: (np.int32, (_ROWS,)) for name in CODED},
    **{name: (np.int64, (_ROWS,)) for name in ("display_ends", "name_ends", "lack_ends")},
    **{name: (np.uint32, (_ANY,)) for name in ("name_keys", "lack_keys")},
    **{f"{name}_keys": (np.uint64, (_ANY,)) for name in ("boards", "engaged")},
    **{f"{name}_rows": (np.int32, (_ANY,)) for name in ("boards", "engaged")},
    **{f"{name}_weights": (np.float32, (_ANY,)) for name in ("boards", "engaged")},
}


def open_table(folder: Path, entity: str) -> ItemTable:
    """Open the table that `omnisearch.indexer.parts.table_write.write_table` wrote.

    Raises:
        Corrupt: a file is missing or its shapes do not agree.
    """
    with reading(f"The table of {entity} items", folder, REBUILD):
        ids = load_lines((folder / IDS_FILE).read_bytes(), str)
        vocabulary = load_json(
            (folder / VOCABULARY_FILE).read_bytes(), {name: [str] for name in CODED}
        )
        display = _bytes_of(folder / DISPLAY_FILE)
        columns = load_file(folder / COLUMNS_FILE)
        attributes = open_attributes(folder, len(ids)) if entity in ITEM_ENTITIES else {}
        return _assemble(folder, entity, ids, columns, vocabulary, display, attributes)


def _assemble(
    folder: Path,
    entity: str,
    ids: list[str],
    columns: dict[str, np.ndarray],
    vocabulary: dict[str, list[str]],
    display: np.ndarray,
    attributes: dict[str, Column],
) -> ItemTable:
    n = len(ids)
    _check(all(map(lt, ids, ids[1:])), "the ids do not ascend")
    for name, (dtype, shape) in _COLUMNS.items():
        sizes = tuple(n if size == _ROWS else size for size in shape)
        check_array(f"column {name}", columns[name], dtype, sizes)
    ends = columns["display_ends"]
    check_ends("the index of what is displayed", ends, len(display))
    codes = {name: Codes(columns[name], vocabulary[name]) for name in CODED}
    for name, code in codes.items():
        low, high = columns[name].min(initial=-1), columns[name].max(initial=-1)
        _check(low >= -1 and high < len(code.vocab), f"codes of {name} are out of range")
    return ItemTable(
        entity=entity,
        ids=ids,
        price=columns["price"],
        created_at=columns["created_at"],
        is_ad=columns["is_ad"],
        full_name=columns["full_name"],
        language=codes["language"],
        country=codes["country"],
        brand=codes["brand"],
        boards=_postings("boards", columns, n),
        engaged=_postings("engaged", columns, n),
        names=_words("name", columns),
        lacks=_words("lack", columns),
        attributes=attributes,
        shown=(Shown(display, ends, folder / DISPLAY_FILE),),
    )


def _words(name: str, columns: dict[str, np.ndarray]) -> Words:
    keys, ends = columns[f"{name}_keys"], columns[f"{name}_ends"]
    check_ends(f"the index of {name}s", ends, len(keys))
    return Words(keys, *spans(ends))


def _postings(name: str, columns: dict[str, np.ndarray], n: int) -> Postings:
    keys, rows, weights = (columns[f"{name}_{part}"] for part in ("keys", "rows", "weights"))
    _check(len(keys) == len(rows) == len(weights), f"the columns of {name} differ in length")
    _check(rows.min(initial=0) >= 0 and rows.max(initial=-1) < n, f"rows of {name}")
    _check(ascends(keys) and np.isfinite(weights).all(), f"keys or weights of {name}")
    same = keys[1:] == keys[:-1]
    _check((np.diff(rows) >= 0)[same].all(), f"rows of {name} do not ascend")
    return Postings((Posting(keys, rows, weights),), n)


def _check(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _bytes_of(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r")
