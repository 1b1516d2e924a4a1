"""Merging sources, fusing ranks, blending the feed, choosing related queries."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.engine.blend import Shares, blend
from omnisearch.engine.candidates import best_first, by_signal, merge, rrf
from omnisearch.engine.index import SourceResult
from omnisearch.engine.related import choose_related
from omnisearch.engine.sources import SOURCES

ENTITIES = ("pin", "product")

_lists = st.dictionaries(
    st.sampled_from(list(SOURCES)),
    st.dictionaries(st.integers(0, 40), st.floats(-1, 1, width=32).map(np.float32), max_size=25),
)


def _found(lists: dict) -> dict[str, SourceResult]:
    parts = {}
    for name, scores in lists.items():
        best = sorted(scores, key=lambda row: (-scores[row], row))
        rows, values = np.array(best, np.int64), np.array([scores[r] for r in best], np.float32)
        parts[name] = SourceResult(SOURCES[name].entity, rows, values)
    return parts


@given(_lists)
def test_merging_loses_nothing_and_repeats_nothing(lists: dict) -> None:
    merged = merge(_found(lists))
    items = [(ENTITIES[code], row) for code, row in zip(merged.entity, merged.row, strict=True)]
    expected = {(SOURCES[name].entity, row) for name, rows in lists.items() for row in rows}
    assert items == sorted(expected, key=lambda item: (ENTITIES.index(item[0]), item[1]))
    for at, (entity, row) in enumerate(items):
        for name, scores in lists.items():
            score = merged.columns[f"{name}_score"][at]
            rank = merged.columns[f"{name}_rank"][at]
            if SOURCES[name].entity != entity or row not in scores:
                assert np.isnan(score) and np.isnan(rank)
            else:
                best = sorted(scores, key=lambda other: (-scores[other], other))
                assert score == scores[row] and rank == best.index(row) + 1


@given(_lists)
def test_rank_fusion_equals_the_formula(lists: dict) -> None:
    merged = merge(_found(lists))
    items = [(int(code), int(row)) for code, row in zip(merged.entity, merged.row, strict=True)]
    expected = dict.fromkeys(items, 0.0)
    for group in by_signal(SOURCES.values()).values():
        scores = {
            (ENTITIES.index(source.entity), row): score
            for source in group
            for row, score in lists.get(source.name, {}).items()
        }
        for rank, item in enumerate(sorted(scores, key=lambda i: (-scores[i], i)), 1):
            expected[item] += 1 / (60 + rank)
    np.testing.assert_allclose(rrf(merged, SOURCES.values()), list(expected.values()), rtol=1e-5)


def test_nothing_found_is_an_empty_table() -> None:
    empty = merge({})
    assert len(empty) == 0 and len(rrf(empty, SOURCES.values())) == 0
    none = SourceResult("pin", np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert len(merge({"token_pins": none})) == 0


def test_equal_scores_are_ordered_by_entity_and_row_and_unknown_ones_come_last() -> None:
    scores = np.array([0.5, np.nan, 0.5, 0.9, 0.5], np.float32)
    assert best_first(scores).tolist() == [3, 0, 2, 4, 1]


_items = st.lists(st.tuples(st.integers(0, 1), st.booleans()), max_size=60)
_shares = st.builds(Shares, st.floats(0, 1), st.floats(0, 0.5))


@given(_items, _shares, st.integers(0, 70))
def test_the_blend_is_a_permutation_that_keeps_its_bounds(
    items: list[tuple[int, bool]], shares: Shares, places: int
) -> None:
    entity = np.array([item[0] for item in items], np.uint8)
    ads = np.array([item[1] for item in items], bool)
    order = np.arange(len(items))
    feed, bounded = blend(order, entity, ads, shares, len(items))
    assert sorted(feed.tolist()) == list(range(len(items)))
    shorter, _ = blend(order, entity, ads, shares, places)
    assert shorter.tolist() == feed[:places].tolist()
    for place in range(1, len(items) + 1):
        head, tail = feed[:place], feed[place:]
        # Within each kind of item the order is by score.
        for code in (0, 1):
            for ad in (False, True):
                same = [i for i in head.tolist() if entity[i] == code and ads[i] == ad]
                assert same == sorted(same)
        allowed = math.ceil(place * shares.ad_share - 1e-9)
        if ads[head[-1]] and ads[head].sum() > allowed:
            assert ads[tail].all()  # an ad above its share only where nothing else is left
    if not bounded.any():
        assert feed.tolist() == order.tolist()


def test_without_bounds_the_score_decides() -> None:
    entity, ads = np.array([1, 1, 0, 1], np.uint8), np.array([True, False, True, True])
    feed, bounded = blend(np.array([2, 0, 3, 1]), entity, ads, Shares(1.0, 0.0), 4)
    assert feed.tolist() == [2, 0, 3, 1] and not bounded.any()


def test_each_entity_type_gets_its_least_share() -> None:
    entity = np.array([0] * 30 + [1] * 10, np.uint8)
    ads = np.zeros(40, bool)
    feed, bounded = blend(np.arange(40), entity, ads, Shares(1.0, 0.2), 20)
    assert np.flatnonzero(entity[feed]).tolist() == [4, 9, 14, 19]  # each fifth place
    assert feed[4] == 30 and bounded[4]


def test_ads_wait_for_their_share() -> None:
    entity, ads = np.zeros(20, np.uint8), np.arange(20) < 10
    feed, bounded = blend(np.arange(20), entity, ads, Shares(0.25, 0.0), 20)
    assert np.flatnonzero(ads[feed])[:4].tolist() == [0, 4, 8, 12]
    assert feed[:5].tolist() == [0, 10, 11, 12, 1]
    assert bounded[:5].tolist() == [False, True, True, True, False]
    none, _ = blend(np.arange(20), entity, ads, Shares(0.0, 0.0), 10)
    assert not ads[none].any()


def test_related_queries_leave_out_the_query_and_its_variants() -> None:
    found = ["boho bedroom", "bedrooms boho", "boho bedroom ideas", "ideas: boho bedroom", "rattan"]
    scores = np.linspace(1, 0.5, 5, dtype=np.float32)
    chosen = choose_related("boho bedroom", found, scores, 8)
    assert [entry.query for entry in chosen] == ["boho bedroom ideas", "rattan"]
    assert choose_related("boho bedroom", found, scores, 1) == chosen[:1]


def test_related_queries_in_scripts_without_spaces_are_told_apart() -> None:
    scores = np.array([0.9, 0.8], np.float32)
    chosen = choose_related("沙发", ["床", "沙发 床"], scores, 8)
    assert [entry.query for entry in chosen] == ["床", "沙发 床"]
