"""The busier evaluation week of a sample world."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.data.text.normalise import normalise_query
from omnisearch.world.busy_week import busy_week
from omnisearch.world.population import DAY, END
from omnisearch.world.related import related_queries
from omnisearch.world.truth import Truth

WEEK = (END - 7 * DAY, END)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of(300, seed=3)


def test_more_traffic_brings_about_as_many_times_more_pairs(truth) -> None:
    one, many = busy_week(truth, 3, WEEK, 10), busy_week(truth, 3, WEEK, 40)
    count = [sum(len(pairs) for name, pairs in week.items()) for week in (one, many)]
    assert 2 < count[1] / count[0] < 4.2  # pairs are unique: some come again
    assert all(pairs == sorted(set(pairs)) for pairs in many.values())
    assert "pin/impression" not in many and {"pin/save", "query/click"} <= set(many)


def test_the_same_seed_brings_the_same_week(truth) -> None:
    assert busy_week(truth, 3, WEEK, 5) == busy_week(Truth.of(300, seed=3), 3, WEEK, 5)
    assert busy_week(truth, 3, WEEK, 5) != busy_week(truth, 4, WEEK, 5)


def test_users_engage_with_what_search_shows_and_click_on_the_worlds_related_queries(truth) -> None:
    week = busy_week(truth, 3, WEEK, 40)
    saved = week["pin/save"]
    assert not any(truth.items.dark[truth.item_of[key]] for _, key in saved)
    relevant = truth.relevance(
        np.array([truth.query_of[query] for query, _ in saved]),
        np.array([truth.item_of[key] for _, key in saved]),
    )
    assert relevant.min() > 0  # nobody saves by accident
    offered = related_queries(truth.tree, truth.queries, np.random.default_rng([3, 5]))
    texts = [normalise_query(text) for text in truth.queries.text]
    pairs = {(texts[a], texts[b]) for a, row in enumerate(offered) for b in row if b >= 0}
    assert set(week["query/click"]) <= pairs


def test_only_the_window_counts(truth) -> None:
    assert busy_week(truth, 3, (END + DAY, END + 2 * DAY), 5) == {}
    whole, half = busy_week(truth, 3, WEEK, 20), busy_week(truth, 3, (END - 4 * DAY, END), 20)
    assert 0 < len(half["pin/save"]) < len(whole["pin/save"])
