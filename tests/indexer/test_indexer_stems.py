"""Stems in the token index: they find items, and make none longer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from omnisearch.data.text.tokens import query_tokens
from omnisearch.indexer.parts.tokens import item_line, open_tokens, write_tokens

TITLES = {"zarvox tassen und lampen": "de", "zarvox cups and lights": "en", "ein stuhl": "de"}


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
def test_a_stem_finds_an_item_and_does_not_make_it_longer(tmp_path: Path, backend: str) -> None:
    lines = [item_line({"title": title, "language": at}) for title, at in TITLES.items()]
    assert "=tass" in lines[0] and "=" not in lines[1]
    write_tokens(tmp_path, lines)
    index = open_tokens(tmp_path, len(lines), backend)
    rows, scores = index.search(query_tokens("zarvox"), 3)
    assert rows.tolist() == [0, 1] and scores[0] == scores[1]
    rows, scores = index.search(query_tokens("tasse", "de"), 3)
    assert rows.tolist() == [0]
    np.testing.assert_allclose(scores, np.log1p(2.5 / 1.5) / 2.2, rtol=1e-5)
    assert not len(index.search(query_tokens("tasse", "en"), 3)[0])
    assert not len(index.search(query_tokens("stühlen"), 3)[0])
    assert index.search(query_tokens("stühlen", "de"), 3)[0].tolist() == [2]


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
def test_a_word_and_its_stem_do_not_add_up(tmp_path: Path, backend: str) -> None:
    """An item in the query's language is no better than one in which the word stands as typed."""
    titles = {"zarvox tasse": "de", "belmok tasse": "en", "quintel tassen": "de", "lamp": "en"}
    lines = [item_line({"title": title, "language": at}) for title, at in titles.items()]
    write_tokens(tmp_path, lines)
    index = open_tokens(tmp_path, len(lines), backend)
    rows, scores = index.search(query_tokens("tasse", "de"), 4)
    assert rows.tolist() == [0, 1, 2]
    assert scores[0] == scores[1] > scores[2] > 0
    plain, alone = index.search(query_tokens("tasse"), 4)
    assert alone[0] == scores[0] and plain.tolist() == [0, 1]
