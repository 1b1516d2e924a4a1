"""Interleaving is fair, whatever the rankings; preferences are those of users."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from omnisearch.evaluation.experiments.interleaving import (
    credit,
    preference,
    probabilistic,
    team_draft,
)

MERGES = [team_draft, probabilistic]
rankings = st.lists(st.integers(0, 12), unique=True, max_size=9)


@pytest.mark.parametrize("merge", MERGES)
@given(a=rankings, b=rankings, seed=st.integers(0, 99), length=st.none() | st.integers(0, 20))
def test_every_key_once_and_as_many_as_asked(merge, a, b, seed, length) -> None:
    found = merge(a, b, np.random.default_rng(seed), length)
    every = {*a, *b}
    assert len(found.keys) == len(set(found.keys)) == len(found.of_b)
    assert len(found.keys) == (len(every) if length is None else min(length, len(every)))
    assert set(found.keys) <= every
    for key, share in zip(found.keys, found.of_b.tolist(), strict=True):
        assert 0 <= share <= 1
        assert share in (0, 0.5) or key in b
        assert share in (1, 0.5) or key in a


@given(a=rankings, b=rankings, seed=st.integers(0, 99))
def test_team_draft_keeps_each_sides_order_and_even_teams(a, b, seed) -> None:
    found = team_draft(a, b, np.random.default_rng(seed))
    for side, ranking in ((0, a), (1, b)):
        mine = [key for key, of_b in zip(found.keys, found.of_b, strict=True) if of_b == side]
        assert mine == sorted(mine, key=ranking.index)
    assert (found.of_b == 0).sum() == (found.of_b == 1).sum()
    for place in range(min(len(a), len(b)) + 1):  # the first so many of each come that soon
        assert {*a[:place], *b[:place]} <= set(found.keys[: 2 * place])


@pytest.mark.parametrize("merge", MERGES)
@given(a=rankings, seed=st.integers(0, 99))
def test_equal_rankings_and_a_missing_one_give_no_preference(merge, a, seed) -> None:
    random = np.random.default_rng(seed)
    for other in (a, []):
        found = merge(a, other, random)
        assert set(found.keys) == set(a)
        assert (found.of_b == 0.5).all()
    assert team_draft(a, a, random).keys == a


@pytest.mark.parametrize("merge", MERGES)
def test_each_place_is_each_sides_equally_often(merge) -> None:
    a, b = [1, 2, 3, 4, 5, 6], [7, 2, 1, 9, 10, 6, 5]
    random = np.random.default_rng(1)
    merges = [merge(a, b, random, 6) for _ in range(4000)]
    of_b = np.array([found.of_b for found in merges])
    # Whoever engages at random at whatever place prefers neither.
    assert of_b.mean(axis=0) == pytest.approx(0.5, abs=0.03)
    first = Counter(found.keys[0] for found in merges)
    assert first[1] / 4000 == pytest.approx(first[7] / 4000, abs=0.04)


def test_team_draft_by_hand() -> None:
    random = np.random.default_rng(2)
    found = {
        (tuple(merged.keys), tuple(merged.of_b.tolist()))
        for merged in (team_draft("abc", "bad", random) for _ in range(200))
    }
    assert found == {  # a and b in the first round, c and d in the second
        (tuple(keys), teams + more)
        for start, teams in (("ab", (0, 1)), ("ba", (1, 0)))
        for end, more in (("cd", (0, 1)), ("dc", (1, 0)))
        for keys in (start + end,)
    }
    assert team_draft("abx", "aby", random, 2).of_b.tolist() == [0.5, 0.5]


def test_probabilistic_draws_and_credits_by_rank() -> None:
    random = np.random.default_rng(3)
    merges = [probabilistic("ab", "ba", random, 1) for _ in range(4000)]
    for merged in merges:
        # 1 / 1**3 against 1 / 2**3
        assert merged.of_b[0] == pytest.approx(1 / 9 if merged.keys == ["a"] else 8 / 9)
    first = [probabilistic("abc", "abc", random).keys[0] for _ in range(4000)]
    expected = np.array([1, 1 / 8, 1 / 27]) / (1 + 1 / 8 + 1 / 27)
    counts = [first.count(key) for key in "abc"]
    assert stats.chisquare(counts, 4000 * expected).pvalue > 0.001


@pytest.mark.parametrize("merge", MERGES)
def test_a_key_twice_is_refused(merge) -> None:
    with pytest.raises(ValueError, match="key twice"):
        merge([1, 2], [3, 3], np.random.default_rng(0))


def test_credit_sums_over_engaged_places() -> None:
    assert credit(np.array([0, 1, 0.5, 1]), [1, 2, 3]) == (0.5, 2.5)
    assert credit(np.array([0, 1]), []) == (0, 0)


def test_preference_counts_users_once_as_draws() -> None:
    a = np.array([1.0, 0, 0, 0.5, 0, 0, 1])
    b = np.array([0.0, 1, 1, 0.5, 0, 2, 0])
    users = np.array(["u", "u", "u", "v", "v", "w", "x"])
    found = preference(a, b, users)
    assert (found.wins, found.ties, found.losses, found.searches) == (2, 1, 1, 6)
    assert found.share.value == pytest.approx(3.5 / 6)
    assert found.sign_p_value == pytest.approx(stats.binomtest(2, 3).pvalue)


def test_many_searches_of_one_user_are_no_more_certain() -> None:
    random = np.random.default_rng(4)
    likes = random.random(300) < 0.5
    once = preference(~likes, likes, np.arange(300))
    often = preference(np.tile(~likes, 50), np.tile(likes, 50), np.tile(np.arange(300), 50))
    assert often.share.low == pytest.approx(once.share.low)
    assert often.p_value == pytest.approx(once.p_value)
    plain = stats.ttest_1samp(likes, 0.5)
    assert once.p_value == pytest.approx(plain.pvalue)
    assert (once.share.low, once.share.high) == pytest.approx(tuple(plain.confidence_interval()))


def test_nobody_engaged_is_nan() -> None:
    found = preference(np.zeros(3), np.zeros(3), np.arange(3))
    assert found.searches == found.ties == 0
    assert math.isnan(found.p_value) and math.isnan(found.sign_p_value)
    assert math.isnan(found.share.value)
