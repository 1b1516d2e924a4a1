"""Graded labels and the correction for position, against a simulated log."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.ranker.labels import MAX_POSITION, UNSEEN_WEIGHT, PairLog, graded_labels

EXAMINED = 1 / np.arange(1, MAX_POSITION + 1)
CLICK, SAVE, IMPRESSION = (ACTIONS.index(name) for name in ("click", "save", "impression"))


def log_of(rows: list[tuple[int, int, float, int]]) -> PairLog:
    pair, action, position, count = zip(*rows, strict=True)
    return PairLog(np.array(pair), np.array(action), np.array(position, float), np.array(count))


def simulated(views: int, noise: float) -> tuple[np.ndarray, PairLog]:
    """Pages of ten. The logging order says nothing about liking: by item number plus noise."""
    rng = np.random.default_rng(0)
    liking = rng.beta(2, 4, (200, 10))
    page = rng.integers(0, 200, views)
    order = np.argsort(np.arange(10) + rng.normal(0, noise, (views, 10)), axis=1)
    pair = page[:, None] * 10 + order
    clicked = rng.random((views, 10)) < EXAMINED[:10] * liking[page[:, None], order]
    position = np.broadcast_to(np.arange(1, 11), (views, 10))
    pairs = np.concatenate([pair.ravel(), pair[clicked]])
    positions = np.concatenate([position.ravel(), position[clicked]]).astype(float)
    actions = np.repeat([IMPRESSION, CLICK], [pair.size, clicked.sum()])
    return liking.ravel(), PairLog(pairs, actions, positions, np.ones(len(pairs)))


def test_labels_rank_what_people_like_better_than_plain_click_counts_do() -> None:
    liking, log = simulated(40_000, noise=3)
    gain, _ = graded_labels(log, len(liking), EXAMINED)
    clicks = np.bincount(log.pair, log.action == CLICK, minlength=len(liking))

    def agreement(labels: np.ndarray) -> float:
        return float(np.corrcoef(labels, liking)[0, 1])

    assert agreement(gain) > agreement(clicks) + 0.2
    assert agreement(gain) > 0.8


def test_a_result_ignored_at_the_top_counts_more_than_one_ignored_far_down() -> None:
    _, weight = graded_labels(log_of([(0, IMPRESSION, 1, 5), (1, IMPRESSION, 40, 5)]), 3, EXAMINED)
    assert weight[0] > weight[1] > weight[2]
    assert weight[2] == pytest.approx(UNSEEN_WEIGHT)


def test_stronger_actions_gain_more_and_engaged_pairs_weigh_fully() -> None:
    gain, weight = graded_labels(log_of([(0, CLICK, np.nan, 1), (1, SAVE, np.nan, 1)]), 3, EXAMINED)
    assert gain[1] > gain[0] > gain[2] == 0
    assert weight[:2].tolist() == [1, 1]


def test_without_impressions_more_actions_gain_more() -> None:
    gain, _ = graded_labels(log_of([(0, SAVE, np.nan, 1), (1, SAVE, np.nan, 9)]), 2, EXAMINED)
    assert gain[1] > gain[0] > 0


def test_an_empty_log_knows_nothing() -> None:
    none = np.zeros(0, np.int64)
    gain, weight = graded_labels(PairLog(none, none, none.astype(float), none), 2, EXAMINED)
    assert gain.tolist() == [0, 0]
    np.testing.assert_allclose(weight, UNSEEN_WEIGHT)
