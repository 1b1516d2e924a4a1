"""The table of words.toml, with both token indexes, and what spelling leaves of its queries."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnisearch.data.text.keys import either_keys
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.text.tokens import query_tokens, query_words, spelled_words, tokens
from omnisearch.indexer.parts.spelling_file import keys_of, open_spelling, write_spelling
from omnisearch.indexer.parts.tokens import open_tokens, write_tokens
from omnisearch.indexer.parts.words import open_texts, write_texts

KINDS = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))["kind"]
OTHERS = [f"Other thing {letter}{letter}" for letter in "bcdfghjklmnpqrstvwz"]


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
@pytest.mark.parametrize("kind", KINDS, ids=[kind["name"] for kind in KINDS])
def test_what_is_meant_comes_first(kind: dict[str, Any], backend: str, tmp_path: Path) -> None:
    titles = [*kind["titles"], *OTHERS]
    write_tokens(tmp_path, [" ".join(tokens(title)) for title in titles])
    index = open_tokens(tmp_path, len(titles), backend)
    write_spelling(
        tmp_path, Counter(word for title in titles for word in spelled_words(title)), keys_of([])
    )
    spelling = open_spelling(tmp_path)
    wrong = {}
    for case in kind["queries"]:
        query = spelling.respelled(normalise_query(case["query"]))
        rows, _ = index.search(query_tokens(query), len(titles))
        found = [titles[row] for row in rows.tolist()]
        first, then = case["first"], case.get("then", [])
        sure = (
            sorted(found[: len(first)]) == sorted(first)
            and sorted(found[len(first) : len(first) + len(then)]) == sorted(then)
            and not set(found) & set(case.get("never", []))
        )
        if not sure:
            wrong[case["query"]] = (query, found[:4])
    assert wrong == {}


@pytest.mark.parametrize("kind", KINDS, ids=[kind["name"] for kind in KINDS])
def test_the_first_have_the_largest_share_of_the_words(
    kind: dict[str, Any], tmp_path: Path
) -> None:
    titles = kind["titles"]
    write_texts(tmp_path, [" ".join(tokens(title)) for title in titles])
    texts = open_texts(tmp_path, len(titles))
    wrong = {}
    for case in kind["queries"]:
        asked = either_keys(query_words(case["query"]))
        share, _ = texts.at(np.arange(len(titles))).match(asked)
        best = {title for title, value in zip(titles, share, strict=True) if value == share.max()}
        if not set(case["first"]) & best:
            wrong[case["query"]] = best
    assert wrong == {}
