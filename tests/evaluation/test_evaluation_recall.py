"""Recall@10 among random entities: the paper's definition, ties against the model, intervals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.tokens import tokens
from omnisearch.evaluation import ranks
from omnisearch.evaluation.ranks import exact_ranks
from omnisearch.evaluation.recall import RecallOptions, evaluate_recall, summarise, token_ranks
from omnisearch.indexer.parts.tokens import open_tokens, write_tokens


def unit(seed: int, shape: tuple[int, int]) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 60))
def test_ranks_equal_a_plain_count(seed: int, n: int, m: int) -> None:
    random = np.random.default_rng(seed)
    # Few distinct values, so that ties are everywhere, and exactly represented ones.
    vectors = random.integers(-2, 3, (m, 4)).astype(np.float32) / 4
    queries = random.integers(-2, 3, (n, 4)).astype(np.float32) / 4
    targets = random.integers(0, m, n)
    corpus = np.flatnonzero(random.random(m) < 0.7)
    wanted = [
        1 + sum(q @ vectors[row] >= q @ vectors[t] for row in corpus if row != t)
        for q, t in zip(queries, targets, strict=True)
    ]
    assert exact_ranks(queries, targets, vectors, corpus).tolist() == wanted


def test_blocks_do_not_change_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = unit(1, (700, 16)), unit(2, (90, 16))
    targets = np.random.default_rng(3).integers(0, 700, 90)
    corpus, own = np.arange(0, 700, 2), np.arange(90)
    whole = exact_ranks(queries, targets, vectors, corpus, own)
    monkeypatch.setattr(ranks, "QUERIES_AT_ONCE", 7)
    monkeypatch.setattr(ranks, "ENTITIES_AT_ONCE", 11)
    seen: list[tuple[int, int]] = []
    blocked = exact_ranks(
        queries, targets, vectors, corpus, own, lambda done, total: seen.append((done, total))
    )
    assert blocked.tolist() == whole.tolist()
    assert seen[-1] == (350, 350) and len(seen) == 32


def test_the_gpus_way_of_counting_finds_the_same_on_any_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, queries = unit(1, (700, 16)), unit(2, (90, 16))
    targets, own = np.random.default_rng(3).integers(0, 700, 90), np.arange(90)
    corpus = np.arange(0, 700, 2)
    on_cpu = exact_ranks(queries, targets, vectors, corpus, own)
    counters: list[ranks.TorchCounter] = []

    @contextmanager
    def by_torch(wanted: Any) -> Iterator[Any]:
        counters.append(ranks.TorchCounter(wanted, torch.device("cpu")))
        yield counters[0].count

    monkeypatch.setattr(ranks, "_counter", by_torch)
    monkeypatch.setattr(ranks, "QUERIES_AT_ONCE", 3)
    monkeypatch.setattr(ranks, "ENTITIES_AT_ONCE", 11)
    assert exact_ranks(queries, targets, vectors, corpus, own).tolist() == on_cpu.tolist()
    assert len(counters[0].parts) == 2


def test_copies_of_the_engaged_entity_count_against_it() -> None:
    vectors = np.repeat(unit(4, (1, 256)), 5001, axis=0)
    queries = unit(5, (300, 256))
    ranks = exact_ranks(queries, np.full(300, 17), vectors, np.arange(5001))
    # A constant scorer gets nothing, wherever in the product the copies stand.
    assert set(ranks.tolist()) == {5001}


def test_what_is_no_number_never_helps_the_model() -> None:
    vectors = np.eye(6, 4, dtype=np.float32)
    queries = np.full((3, 4), np.nan, dtype=np.float32)
    corpus = np.arange(6)
    assert exact_ranks(queries, np.array([0, 1, 2]), vectors, corpus).tolist() == [7, 7, 7]
    broken = np.array([[np.nan] * 4, *np.eye(4)[1:], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    asked = np.eye(4, dtype=np.float32)
    ranks_of = exact_ranks(asked, np.array([0, 1, 2, 3]), broken, corpus)
    assert ranks_of[0] == 7 and (ranks_of[1:] == 2).all()  # the broken entity counts as ahead


def test_no_vector_is_a_miss_and_the_query_itself_is_no_suggestion() -> None:
    vectors = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0.5, 0], [1, 0.5, 0]], dtype=np.float32)
    everything = np.arange(3)
    assert exact_ranks(queries, np.array([1, -1]), vectors, everything).tolist() == [2, 4]
    skipped = exact_ranks(queries, np.array([1, -1]), vectors, everything, np.array([0, 0]))
    assert skipped.tolist() == [1, 4]


class Words:
    """A token index that scores by shared words and lists ties in row order."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = [set(text.split()) for text in texts]

    def search(
        self, terms: list[str], k: int, allowed: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = np.array([len(words & set(terms)) for words in self.texts], dtype=float)
        if allowed is not None:
            scores[~allowed] = 0
        rows = np.argsort(-scores, kind="stable")[:k]
        rows = rows[scores[rows] > 0]
        return rows, scores[rows].astype(np.float32)


def test_token_ranks_count_ties_against_and_respect_the_corpus() -> None:
    index = Words(["red sink", "red", "red", "blue sink", "red sink lamp"])
    everything = np.ones(5, dtype=bool)
    texts = ["red", "red sink", "lamp", "green", "red"]
    ranks = token_ranks(texts, np.array([1, 4, 4, 0, -1]), index, everything, k=3)
    assert ranks.tolist() == [4, 2, 1, 4, 4]
    corpus = np.array([False, False, True, False, False])
    ranks = token_ranks(["red"], np.array([1]), index, corpus, k=3)
    assert ranks.tolist() == [2]  # itself and row 2, which ties
    assert corpus.tolist() == [False, False, True, False, False]


def test_a_query_is_searched_by_its_tokens(tmp_path: Path) -> None:
    titles = ["red sinks", "a blue lamp", "green rug"]
    write_tokens(tmp_path, [" ".join(tokens(title)) for title in titles])
    index, everything = open_tokens(tmp_path, 3, "tantivy"), np.ones(3, dtype=bool)
    asked = ["Red sink!", "the lamp", "rugs"]
    assert token_ranks(asked, np.arange(3), index, everything, k=2).tolist() == [1, 1, 1]


def pairs(rows: list[tuple[str, str, str, str]]) -> pa.Table:
    names = ("query", "item_id", "language", "country")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def test_summary_by_language_and_country_with_an_interval_over_queries() -> None:
    table = pairs(
        [("a", "1", "de", "DE"), ("a", "2", "de", "DE"), ("b", "1", "en", "US"), ("c", "9", "", "")]
    )
    found = summarise(table, np.array([True, True, False, False]), ("learned", "pin/save", 9))
    by_group = {row.group: row for row in found}
    assert set(by_group) == {"", "language=de", "language=en", "country=DE", "country=US"}
    total = by_group[""]
    assert (total.recall, total.pairs, total.queries, total.corpus) == (0.5, 4, 3, 9)
    assert total.low <= total.recall <= total.high
    assert (by_group["language=de"].recall, by_group["country=US"].recall) == (1.0, 0.0)


def table_of(ids: list[str]) -> SimpleNamespace:
    return SimpleNamespace(ids=ids, row_of={key: row for row, key in enumerate(ids)})


def space_of(vectors: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(vectors=vectors, present=vectors.any(axis=1))


def world() -> tuple[Any, dict[str, np.ndarray]]:
    """40 pins whose learned vectors are their queries', half of them also in the PinSage space."""
    vectors = unit(6, (40, 8))
    pinsage = vectors.copy()
    pinsage[20:] = 0
    table = table_of([f"p{number}" for number in range(39)])
    names = [f"q{number}" for number in range(40)]
    generation = SimpleNamespace(
        spaces={
            ("pin", "learned"): space_of(vectors[:39]),
            ("pin", "pinsage"): space_of(pinsage[:39]),
            ("query", "learned"): space_of(np.roll(vectors, 1, axis=0)),
        },
        tokens={"pin": Words([f"q{number} words" for number in range(39)])},
        tables={"pin": table, "query": table_of(names)},
    )
    return generation, dict(zip(names, vectors, strict=True))


def test_every_space_is_measured_and_absent_items_are_misses() -> None:
    generation, vector_of = world()
    rows = [(f"q{number}", f"p{number}", "en", "US") for number in range(40)]
    rows.append(("q0", "never indexed", "en", "US"))
    found = evaluate_recall(
        generation,
        lambda texts: np.stack([vector_of[text] for text in texts]),
        {"pin/save": pairs(rows), "query/click": pairs([("q3", "q4", "en", "US")])},
        RecallOptions(k=1),
    )
    figures = {(row.pairs_of, row.space): row for row in found if not row.group}
    # 39 of 41: two pins are not there; PinSage knows 20 pins.
    assert figures["pin/save", "learned"].recall == pytest.approx(39 / 41)
    assert figures["pin/save", "pinsage"].recall == pytest.approx(20 / 41)
    assert figures["pin/save", "bm25"].recall == pytest.approx(39 / 41)
    assert figures["pin/save", "learned"].corpus == 39
    assert figures["pin/save", "pinsage"].corpus == 20
    assert figures["query/click", "learned"].recall == 1.0


def test_a_smaller_corpus_is_a_seeded_sample() -> None:
    generation, vector_of = world()
    table = {"pin/save": pairs([("q1", "p2", "en", "US"), ("q5", "p9", "en", "US")])}

    def run(seed: int) -> list[Any]:
        return evaluate_recall(
            generation,
            lambda texts: np.stack([vector_of[text] for text in texts]),
            table,
            RecallOptions(k=3, corpus=10, seed=seed),
        )

    assert run(1) == run(1)
    assert {row.corpus for row in run(1) if row.space == "learned"} == {10}
