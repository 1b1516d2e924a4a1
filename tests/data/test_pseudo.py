"""Pseudo-queries from items' own texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.catalogue.pseudo_queries import MOST, pseudo_pairs, pseudo_query
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.normalise import normalise_query


@given(st.text(max_size=200), st.integers(0, 99))
def test_a_pseudo_query_is_a_query_made_of_the_text(text: str, seed: int) -> None:
    found = pseudo_query(text, np.random.default_rng(seed))
    assert found == normalise_query(found)
    left = normalise_query(text)
    for word in found.split():
        assert word in left
        left = left[left.index(word) + len(word) :]
    assert len(found.split()) <= MOST


def test_it_leaves_words_out_so_that_there_is_something_to_learn() -> None:
    text = "Antique Copper Bathroom Sink"
    drawn = {pseudo_query(text, np.random.default_rng(seed)) for seed in range(60)}
    assert len(drawn) > 5
    assert normalise_query(text) not in drawn
    assert all(2 <= len(query.split()) <= 3 for query in drawn)
    assert pseudo_query("copper sink", np.random.default_rng(0)) == ""


def test_a_script_without_spaces_gives_neighbouring_signs() -> None:
    text = "アンティーク銅の洗面台"
    for seed in range(30):
        assert pseudo_query(text, np.random.default_rng(seed)) in text


@pytest.mark.parametrize("seed", [0, 3])
def test_pairs_of_a_catalogue_are_the_same_every_time(tmp_path, seed) -> None:
    db = open_catalogue(tmp_path / "catalogue.db", create=True)
    db["pins"].insert_all(
        [
            {"id": "a", "title": "Boho bedroom with a rattan lamp", "caption": None},
            {"id": "b", "title": None, "caption": "a red sofa in a room"},
            {"id": "c", "title": "Sofa", "caption": None},
        ]
    )
    found = pseudo_pairs(db, seed)
    assert found["pseudo_pin"]["item_id"].to_pylist() == ["a", "b"]
    assert found["pseudo_product"].num_rows == 0
    assert found["pseudo_pin"].equals(pseudo_pairs(db, seed)["pseudo_pin"])
