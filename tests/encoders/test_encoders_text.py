"""N-grams, hash embeddings and ragged rows against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.encoders.models.hash_embedding import HashEmbedding, Levels, sum_bags
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary, build_vocabulary
from omnisearch.encoders.models.ragged import Growing, Ragged

TEXTS = {"Mid-century Sofa": 3, "sofa": 2, "ソファ bed": 1, "": 1, "sofa sofa bed": 1}
rows_of_numbers = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


def as_lists(ragged: Ragged) -> list[list[int]]:
    bounds = zip(ragged.offsets, ragged.offsets[1:], strict=False)
    return [ragged.flat[start:stop].tolist() for start, stop in bounds]


@given(rows_of_numbers, st.data())
def test_ragged_rows_are_taken_kept_and_renumbered_as_lists_are(rows, data) -> None:
    ragged = Ragged.of(rows)
    assert as_lists(ragged) == rows
    if rows:
        wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5))
        taken = ragged.take(np.array(wanted, dtype=np.int64))
        assert as_lists(taken) == [rows[row] for row in wanted]
    kept = ragged.keep(ragged.flat % 2 == 0)
    assert as_lists(kept) == [[value for value in row if value % 2 == 0] for row in rows]
    compact, values = ragged.compact(10)
    assert values.tolist() == sorted({value for row in rows for value in row})
    assert [[values[n] for n in row] for row in as_lists(compact)] == rows
    expected = [
        sorted(at for at, row in enumerate(rows) for each in row if each == value)
        for value in range(10)
    ]
    assert [sorted(row) for row in as_lists(ragged.transposed(10))] == expected


@given(rows_of_numbers, rows_of_numbers)
def test_a_growing_ragged_holds_all_rows_however_often_it_was_read(first, second) -> None:
    growing = Growing()
    for row in first:
        growing.append(row)
    assert as_lists(growing.frozen) == first
    assert [growing.append(row) for row in second] == [len(first) + at for at in range(len(second))]
    assert as_lists(growing.frozen) == first + second
    assert len(growing) == len(first + second)


def test_vocabularies_hold_the_most_frequent_n_grams_ties_by_code_point() -> None:
    found = build_vocabulary(TEXTS, 3, 2, 4)
    assert found.unigrams == ["sofa", "century", "mid"]  # 7, 3, 3
    assert found.bigrams == ["century#sofa", "mid#century"]
    # "#so", "ofa", "fa#", "sof" stand in every sofa; all 7 times.
    assert found.trigrams == ["#so", "fa#", "ofa", "sof"]


def test_scripts_without_spaces_are_split_into_characters() -> None:
    found = build_vocabulary({"猫の絵": 1}, 10, 10, 10)
    assert found.unigrams == sorted("猫の絵")
    assert found.bigrams == ["の#絵", "猫#の"]
    assert "#猫#" in found.trigrams


def test_a_vocabulary_is_read_as_it_was_written(tmp_path) -> None:
    vocabulary = build_vocabulary(TEXTS, 100, 100, 100)
    vocabulary.write(tmp_path)
    assert NgramVocabulary.read(tmp_path) == vocabulary
    (tmp_path / "bigrams.txt").unlink()
    with pytest.raises(Corrupt):
        NgramVocabulary.read(tmp_path)


def test_ids_of_the_three_kinds_lie_end_to_end_and_unknown_n_grams_are_dropped() -> None:
    vocabulary = NgramVocabulary(["sofa", "bed"], ["sofa#bed"], ["#so", "ed#"])
    index = NgramIndex(vocabulary)
    assert sorted(index.tokens("Sofa bed")) == [0, 1, 2, 3, 4]
    assert index.tokens("zzz") == []
    assert index.tokens("") == []


words = st.text(alphabet="abc é猫-", max_size=12)


@settings(max_examples=60)
@given(st.lists(st.lists(words, max_size=4), min_size=1, max_size=5), st.booleans())
def test_text_sums_and_their_gradients_equal_the_plain_sum_over_tokens(items, forgetful) -> None:
    vocabulary = build_vocabulary({"ab ca": 2, "c é": 1, "猫 ab bc": 1, "abc": 3}, 4, 3, 6)
    index = NgramIndex(vocabulary, *((0, 0) if forgetful else (100, 100)))
    index.string("seen before ab")
    embedding = HashEmbedding(len(vocabulary), rows=7, dim=4, seed=2)
    with torch.no_grad():
        embedding.weights.uniform_(0.5, 1.5)
    table = embedding.table.detach().clone().requires_grad_()
    weights = embedding.weights.detach().clone().requires_grad_()
    expected = []
    for strings in items:
        total = torch.zeros(4)
        for token in (token for text in strings for token in index.tokens(text)):
            for h in range(2):
                a, b = int(embedding.a[h]), int(embedding.b[h])
                row = (a * token + b) % (2**31 - 1) % 7
                total = total + weights[token, h] * table[row]
        expected.append(total)
    plain = torch.stack(expected)
    found = sum_bags(embedding, Levels(index.bags_of(items), backward=True))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    outer = torch.arange(1.0, 1 + plain.numel()).reshape(plain.shape)
    (found * outer).sum().backward()
    if plain.requires_grad:
        (plain * outer).sum().backward()
        assert embedding.table.grad is not None and embedding.table.grad.is_sparse
        torch.testing.assert_close(
            embedding.table.grad.to_dense(), table.grad, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            embedding.weights.grad.to_dense(), weights.grad, atol=1e-4, rtol=1e-4
        )


def test_the_two_hashes_of_a_token_differ_and_spread_over_the_table() -> None:
    rows = HashEmbedding(50_000, rows=10_000, dim=1, seed=0).hashes(torch.arange(50_000))
    assert rows.min() >= 0 and rows.max() < 10_000
    assert (rows[:, 0] == rows[:, 1]).float().mean() < 0.01
    used = torch.bincount(rows.flatten(), minlength=10_000)
    assert (used > 0).float().mean() > 0.99  # 10 tokens a row on average
