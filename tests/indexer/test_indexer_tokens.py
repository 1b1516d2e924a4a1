"""BM25: both backends against each other and the formula, any text, any filter, many scripts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tantivy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisearch.data.text.tokens import Use, query_tokens, tokens
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.indexer.parts.tokens import check_tokens, open_tokens, read_tokens, write_tokens
from omnisearch.indexer.parts.tokens_rank_bm25 import coded_length
from omnisearch.indexer.parts.tokens_tantivy import TANTIVY_FOLDER, TantivyIndex, _schema

BACKENDS = ("tantivy", "rank-bm25")


def corpus(seed: int = 0, rows: int = 400) -> list[str]:
    """Rows of skewed words; some empty, some much longer than forty words."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice([0, 1, 5, 12, 39, 41, 90, 400], size=rows)
    return [
        " ".join(f"w{word}" for word in np.minimum(rng.zipf(1.3, size=length), 300))
        for length in lengths
    ]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokens(folder, corpus())
    return folder


def agree(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> None:
    """Equal up to the order of ties, and up to which of the last ties are within k."""
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4)
    if not len(one[1]):
        return
    last = min(one[1][-1], other[1][-1]) * (1 + 1e-4)
    inside = [set(rows[scores > last].tolist()) for rows, scores in (one, other)]
    assert inside[0] == inside[1]


def test_the_backends_agree_on_the_top_ten(indexed: Path) -> None:
    serving, reference = (open_tokens(indexed, 400, backend) for backend in BACKENDS)
    rng = np.random.default_rng(1)
    for _ in range(100):
        text = " ".join(f"w{word}" for word in np.minimum(rng.zipf(1.3, size=3), 320))
        agree(serving.search(query_tokens(text), 10), reference.search(query_tokens(text), 10))


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_are_lucenes_formula(tmp_path: Path, backend: str) -> None:
    rows = ["oak chair", "oak oak table lamp", "", "walnut lamp"]
    write_tokens(tmp_path, rows)
    found, scores = open_tokens(tmp_path, 4, backend).search(query_tokens("oak lamp"), 10)
    lengths = [len(row.split()) for row in rows]
    average = sum(lengths) / 4
    expected = []
    for row, length in zip(rows, lengths, strict=True):
        score = 0.0
        for word in ("oak", "lamp"):
            n = sum(word in other.split() for other in rows)
            idf = math.log(1 + (4 - n + 0.5) / (n + 0.5))
            tf = row.split().count(word)
            score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / average))
        expected.append(score)
    order = sorted((row for row in range(4) if expected[row]), key=lambda row: -expected[row])
    assert found.tolist() == order
    np.testing.assert_allclose(scores, [expected[row] for row in order], rtol=1e-5)


def test_coded_lengths_are_those_of_lucene() -> None:
    # From the table in Lucene's and tantivy's sources.
    for length, coded in ((0, 0), (39, 39), (40, 40), (41, 40), (43, 42), (57, 56), (60, 60)):
        assert coded_length(length) == coded
    for length, coded in ((63, 60), (100, 96), (104, 104), (280, 280), (300, 280), (1048, 1048)):
        assert coded_length(length) == coded


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.6, 1.0])
def test_filters_act_inside_the_search(indexed: Path, backend: str, share: float) -> None:
    index = open_tokens(indexed, 400, backend)
    allowed = np.random.default_rng(2).random(400) < share
    for text in ("w1", "w2 w9 w30", "w250"):
        rows, scores = index.search(query_tokens(text), 400)
        inside = allowed[rows]
        found = index.search(query_tokens(text), 12, allowed)
        assert allowed[found[0]].all()
        agree(found, (rows[inside][:12], scores[inside][:12]))


def test_a_filter_that_keeps_many_rows_but_none_of_the_best(tmp_path: Path) -> None:
    write_tokens(tmp_path, ["lamp"] * 6000 + ["lamp and much besides"] * 3000)
    index = open_tokens(tmp_path, 9000, "tantivy")
    allowed = np.arange(9000) >= 6000
    rows, _ = index.search(query_tokens("lamp"), 5, allowed)
    assert rows.tolist() == [6000, 6001, 6002, 6003, 6004]


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_text_is_a_query(indexed: Path, backend: str) -> None:
    index = open_tokens(indexed, 400, backend)

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(
        st.text(st.characters(), max_size=60) | st.text('w1"*?:()[]{}^~+-\\/ ANDORT', max_size=40)
    )
    def search(text: str) -> None:
        rows, scores = index.search(query_tokens(text), 5)
        assert len(rows) == len(scores) <= 5
        assert rows.dtype == np.int64 and scores.dtype == np.float32
        assert (np.diff(scores) <= 0).all()

    search()
    for text in ("", " ", "\x00", "\ud800", "w1 AND (", 'text:"w1', "w1 " * 5000, "é" * 10_000):
        index.search(query_tokens(text), 5)
    assert len(index.search(query_tokens("w1"), 0)[0]) == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("Oak dining chairs", "CHAIR"),
        ("椅子と机", "机"),
        ("Деревянный стул", "стул"),
        ("كرسي خشبي", "خشبي"),
        ("लकड़ी की कुर्सी", "कुर्सी"),
        ("Ξύλινη καρέκλα", "καρέκλα"),
        ("เก้าอี้ไม้", "ไม้"),
        ("Café-Tisch", "café"),
        ("The Who", "the who"),
        ("It", "it"),
    ],
)
def test_scripts_and_stop_words(tmp_path: Path, backend: str, title: str, query: str) -> None:
    write_tokens(tmp_path, [" ".join(tokens("else")), " ".join(tokens(title)), ""])
    rows, _ = open_tokens(tmp_path, 3, backend).search(query_tokens(query), 3)
    assert rows.tolist() == [1]


def test_stop_words_only_matter_alone() -> None:
    assert plain("a lamp for the desk") == ["lamp", "desk"]
    assert plain("to be") == ["to", "be"]
    assert plain("lamp lamps Lamp") == ["lamp"]


def plain(query: str) -> list[str]:
    """The tokens that count fully: those of the words themselves."""
    return [token for token, use in query_tokens(query).items() if use == Use()]


def test_an_index_of_several_segments_returns_rows(tmp_path: Path) -> None:
    path = tmp_path / TANTIVY_FOLDER
    path.mkdir()
    index = tantivy.Index(_schema(), path=str(path))
    writer = index.writer(20_000_000, 1)
    for rows in ((4, 2, 5), (0, 3, 1)):  # neither in order nor in one segment
        for row in rows:
            document = tantivy.Document()
            document.add_text("text", "lamp " * (row + 1))
            document.add_unsigned("row", row)
            writer.add_document(document)
        writer.commit()
    writer.wait_merging_threads()
    found, _ = TantivyIndex(tmp_path, 6).search(query_tokens("lamp"), 6)
    assert sorted(found.tolist()) == [0, 1, 2, 3, 4, 5]
    allowed = np.array([True, False, True, False, False, True])
    assert set(TantivyIndex(tmp_path, 6).search(query_tokens("lamp"), 6, allowed)[0]) == {0, 2, 5}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [[], [""], ["", ""], ["lamp"]])
def test_corpora_of_almost_nothing(tmp_path: Path, backend: str, rows: list[str]) -> None:
    write_tokens(tmp_path, rows)
    found, _ = open_tokens(tmp_path, len(rows), backend).search(query_tokens("lamp"), 10)
    assert found.tolist() == ([0] if rows == ["lamp"] else [])


def test_what_is_refused(indexed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no token backend 'lucene'"):
        open_tokens(indexed, 400, "lucene")
    for backend in BACKENDS:
        with pytest.raises(Corrupt):
            open_tokens(indexed, 399, backend)
        with pytest.raises(Corrupt):
            open_tokens(tmp_path, 3, backend)


def test_tokens_are_stored_by_row(tmp_path: Path) -> None:
    rows = ["a b", "", "椅 子", "c"]
    write_tokens(tmp_path, rows)
    assert read_tokens(tmp_path, len(rows)) == rows
    check_tokens(tmp_path, len(rows))


@pytest.mark.parametrize("content", [b"", b"a\nb", b"a\nb\nc", b"a\nb\nc\n", b"a\n\xff\n"])
def test_damaged_tokens_are_found_with_and_without_keeping_them(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "tokens.txt").write_bytes(content)
    for read in (read_tokens, check_tokens):
        with pytest.raises(Corrupt):
            read(tmp_path, 2)
    if content == b"":
        check_tokens(tmp_path, 0)


def test_the_backends_agree_on_real_titles(shared_data: Path, tmp_path: Path) -> None:
    import orjson

    source = next((shared_data / "tate").glob("artworks*"), None)
    if source is None or source.suffix != ".jsonl":
        pytest.skip("no works of the Tate beside the project")
    with source.open("rb") as file:
        works = [orjson.loads(line) for line, _ in zip(file, range(3000), strict=False)]
    titles = [str(work.get("title") or "") for work in works]
    write_tokens(tmp_path, [" ".join(tokens(title)) for title in titles])
    serving, reference = (open_tokens(tmp_path, len(titles), backend) for backend in BACKENDS)
    for title in titles[:60]:
        agree(serving.search(query_tokens(title), 10), reference.search(query_tokens(title), 10))
