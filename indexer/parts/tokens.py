"""The token part of a generation: the stored tokens of each row, and their index."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.catalogue.schema import CODE_FIELDS, TEXT_FIELDS
from omnisearch.data.text.tokens import CODE, code_token, stem_tokens, tokens
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.reading import reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens_rank_bm25 import RankBM25Index
from omnisearch.indexer.parts.tokens_tantivy import TantivyIndex, write_tantivy

TOKENS_FILE = "tokens.txt"
# Ranker features read these alone: an item that was never shown has no engaged queries.
OWN_FIELDS = tuple(field for field in TEXT_FIELDS if field != "engaged_queries")


def item_line(item: dict[str, Any]) -> str:
    """What BM25 reads of an item: its own tokens, a tab, and what its engaged queries add.

    A query adds words that the item does not have, each once: searchers' words find it, and a
    popular item does not match its own words better than an item that was never shown.
    Its own are of its text fields and codes, stems of its language, and each code as a whole. Of an
    id with the name of a data set (`esci:B07XYZ`), what follows is a code too. `own_part` has them
    alone.
    """
    codes = [item[field] for field in CODE_FIELDS if item.get(field)]
    own = item.get("id") or ""
    wholes = dict.fromkeys(map(code_token, (*codes, own, own.rpartition(":")[2])))
    wholes.pop(CODE, None)
    texts = field_texts(item, OWN_FIELDS)
    stems = stem_tokens("\n".join(texts), item.get("language"))
    found = [*tokens("\n".join([*texts, *codes])), *stems, *wholes]
    engaged = dict.fromkeys(tokens("\n".join(field_texts(item, ("engaged_queries",)))))
    for token in found:
        engaged.pop(token, None)
    return f"{' '.join(found)}\t{' '.join(engaged)}".rstrip("\t")


def own_part(line: str) -> str:
    """An item's own tokens, of its `item_line`."""
    return line.partition("\t")[0]


def write_tokens(folder: Path, lines: Iterable[str]) -> None:
    """Store the tokens of each row, one line per row, and index them with tantivy."""
    stored = list(lines)
    (folder / TOKENS_FILE).write_text("".join(f"{line}\n" for line in stored), "utf-8")
    write_tantivy(folder, stored)


def read_tokens(folder: Path, rows: int) -> list[str]:
    """The tokens of each row as `write_tokens` stored them, joined by spaces.

    Raises:
        Corrupt: the file is missing, or does not have the tokens of that many rows.
    """
    path = folder / TOKENS_FILE
    with reading("The file of tokens", path, REBUILD):
        lines = path.read_bytes().decode("utf-8").split("\n")
        if len(lines) != rows + 1 or lines.pop():
            raise ValueError(f"it has {len(lines)} rows, not {rows}")
        return lines


def check_tokens(folder: Path, rows: int) -> None:
    """As `read_tokens`, line by line, for those who need none of them."""
    path = folder / TOKENS_FILE
    with reading("The file of tokens", path, REBUILD), path.open("rb") as file:
        found, ended = 0, True
        for line in file:
            line.decode("utf-8")
            found, ended = found + 1, line.endswith(b"\n")
        if found != rows or not ended:
            raise ValueError(f"it has {found} rows, not {rows}")


def open_tokens(folder: Path, rows: int, backend: str) -> TokenIndex:
    """Open the token index of `rows` rows in `folder`.

    Raises:
        InputError: the backend is unknown.
        Corrupt: the files are not an index of that many rows.
    """
    check_backend(backend)
    if backend == "tantivy":
        return TantivyIndex(folder, rows)
    return RankBM25Index([line.split() for line in read_tokens(folder, rows)])


def check_backend(backend: str) -> None:
    """Raise InputError for an unknown token backend."""
    if backend not in ("tantivy", "rank-bm25"):
        raise InputError(
            f"There is no token backend {backend!r}.",
            where="--token-backend",
            how="Use tantivy or rank-bm25.",
        )
