"""What the rankers see of a candidate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranking_samples import NOW, candidate_columns

from omnisearch.ranker.features import FEATURES, QueryInfo, feature_matrix, feature_names, l1_names

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ranking.md"
nan = np.nan

# What the first rankers were trained on. They load as long as the features keep these places.
FIRST = """
    is_product learned compat bm25 learned_gap compat_gap bm25_share learned_rr compat_rr bm25_rr
    engaged_match name_share name_cover text_share excluded log_price language_match is_ad
    query_words
"""
FIRST_OF_L1 = """
    is_product learned bm25 compat_gap bm25_share learned_rr compat_rr bm25_rr engaged_match
    name_share name_cover text_share excluded language_match
"""


def test_the_features_keep_the_places_that_trained_rankers_know() -> None:
    first = FIRST.split()
    assert list(feature_names()[: len(first)]) == first
    assert [name for name in l1_names() if name in first] == FIRST_OF_L1.split()


def test_the_page_lists_every_feature() -> None:
    features = [each for group in FEATURES.values() for each in group.features]
    table = [f"| `{each.name}` | {each.doc} | {'yes' if each.l1 else ''} |\n" for each in features]
    assert "".join(table) in PAGE.read_text("utf-8"), f"{PAGE} needs\n{''.join(table)}"


def features_of(columns: dict, text: str = "copper sink") -> dict[str, np.ndarray]:
    X = feature_matrix(columns, QueryInfo.of(text, NOW))
    assert X.dtype == np.float32 and X.flags.c_contiguous
    return dict(zip(feature_names(), X.T, strict=True))


def test_values_of_a_small_table() -> None:
    found = features_of(
        {
            "entity": np.array([0, 0, 1]),
            "learned": np.array([0.9, 0.5, 0.7]),
            "bm25": np.array([nan, 4.0, 10.0]),
            "bm25_rank": np.array([nan, 2.0, 1.0]),
            "learned_rank": np.array([1.0, 62.0, nan]),
            "engaged_match": np.array([0.0, 2.0, 0.0]),
            "price": np.array([nan, nan, 24.0]),
            "is_ad": np.array([False, False, True]),
        }
    )
    expected = {
        "is_product": [0, 0, 1],
        "learned": [0.9, 0.5, 0.7],
        "learned_gap": [0, -0.4, 0],  # the best pin and the best product are each 0
        "bm25_share": [nan, 1, 1],
        "bm25_rr": [0, 61 / 62, 1],
        "learned_rr": [1, 0.5, 0],
        "compat": [nan, nan, nan],
        "compat_rr": [0, 0, 0],
        "engaged_match": [0, np.log(3), 0],
        "log_price": [nan, nan, np.log(25)],
        "language_match": [nan, nan, nan],
        "is_ad": [0, 0, 1],
        "query_words": [2, 2, 2],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_three_reciprocal_ranks_add_up_to_reciprocal_rank_fusion() -> None:
    columns = candidate_columns(50, np.random.default_rng(1))
    found = features_of(columns)
    ranks = np.stack([columns[f"{source}_rank"] for source in ("learned", "compat", "bm25")])
    fused = np.nansum(1 / (60 + ranks), axis=0)
    total = found["learned_rr"] + found["compat_rr"] + found["bm25_rr"]
    np.testing.assert_allclose(total / 61, fused, rtol=1e-5)


def test_a_candidate_keeps_its_features_when_the_rows_are_reordered() -> None:
    columns = candidate_columns(30, np.random.default_rng(2))
    order = np.random.default_rng(3).permutation(30)
    query = QueryInfo.of("sofa", NOW)
    reordered = {name: values[order] for name, values in columns.items()}
    np.testing.assert_array_equal(
        feature_matrix(columns, query)[order], feature_matrix(reordered, query)
    )


def test_no_candidates_give_no_rows() -> None:
    X = feature_matrix({"entity": np.zeros(0)}, QueryInfo.of("", 0))
    assert X.shape == (0, len(feature_names()))


@pytest.mark.filterwarnings("error")
@settings(max_examples=30)
@given(n=st.integers(1, 6), absent=st.sets(st.integers(1, 10)), seed=st.integers(0, 1000))
def test_missing_columns_are_unknown_and_nothing_is_infinite(
    n: int, absent: set[int], seed: int
) -> None:
    columns = candidate_columns(n, np.random.default_rng(seed))
    for number in absent:
        del columns[list(candidate_columns(1, np.random.default_rng(0)))[number]]
    X = feature_matrix(columns, QueryInfo.of("x", NOW))
    assert not np.isinf(X).any()
    for name in ("learned", "compat", "bm25", "is_ad"):
        assert name in columns or np.isnan(X[:, feature_names().index(name)]).all()
