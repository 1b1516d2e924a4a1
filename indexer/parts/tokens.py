"""The token part of a generation: the stored tokens of each row, and their index."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.text.tokens import tokens
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens_rank_bm25 import RankBM25Index
from omnisearch.indexer.parts.tokens_tantivy import TantivyIndex, write_tantivy

TOKENS_FILE = "tokens.txt"


def item_tokens(item: dict[str, Any]) -> list[str]:
    """The tokens of all text fields of an item (`TEXT_FIELDS`)."""
    return tokens("\n".join(field_texts(item)))


def write_tokens(folder: Path, lines: Iterable[str]) -> None:
    """Store the tokens of each row, one line per row, and index them with tantivy."""
    stored = list(lines)
    (folder / TOKENS_FILE).write_text("".join(f"{line}\n" for line in stored), "utf-8")
    write_tantivy(folder, stored)


def read_tokens(folder: Path) -> list[str]:
    """The tokens of each row as `write_tokens` stored them, joined by spaces."""
    try:
        return (folder / TOKENS_FILE).read_text("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise Corrupt(
            f"The stored tokens cannot be read ({error}).",
            where=str(folder / TOKENS_FILE),
            how=REBUILD,
        ) from error


def open_tokens(folder: Path, rows: int, backend: str) -> TokenIndex:
    """Open the token index of `rows` rows in `folder`.

    Raises:
        InputError: the backend is unknown.
        Corrupt: the files are not an index of that many rows.
    """
    if backend == "tantivy":
        return TantivyIndex(folder, rows)
    if backend == "rank-bm25":
        lines = read_tokens(folder)
        if len(lines) != rows:
            raise Corrupt(
                f"The tokens have {len(lines)} rows, not {rows}.",
                where=str(folder / TOKENS_FILE),
                how=REBUILD,
            )
        return RankBM25Index([line.split() for line in lines])
    raise InputError(
        f"There is no token backend {backend!r}.",
        where="--token-backend",
        how="Use tantivy or rank-bm25.",
    )
