"""Examination by position, against logs whose truth is known and against a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from omnisearch.ranker.examination import examination

Cells = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # pair, place, views, choices
PLACES = 10


def cells_of(pair: np.ndarray, place: np.ndarray, chosen: np.ndarray) -> Cells:
    """Impressions as counts of each pair at each place."""
    key, cell = np.unique(pair * PLACES + place, return_inverse=True)
    views = np.bincount(cell).astype(float)
    return key // PLACES, key % PLACES, views, np.bincount(cell, chosen)


def searched(theta: np.ndarray, searches: int, noise: float, seed: int = 0) -> Cells:
    """A search that shows first what is liked most, with some noise. Queries are mostly rare, so
    most pairs were seen once or twice, and a popular one mostly at one place."""
    rng = np.random.default_rng(seed)
    queries = searches // 4
    liked = -np.sort(-rng.beta(1, 4, (queries, 14)), axis=1)
    weight = np.arange(1, queries + 1) ** -0.45
    query = rng.choice(queries, (searches, 1), p=weight / weight.sum())
    item = np.argsort(np.arange(14) + rng.normal(0, noise, (searches, 14)), axis=1)[:, :PLACES]
    place = np.broadcast_to(np.arange(PLACES), item.shape)
    chosen = rng.random(item.shape) < theta * liked[query, item]
    return cells_of((query * 14 + item).ravel(), place.ravel(), chosen.ravel())


@pytest.mark.parametrize("decay", [0.3, 0.6, 1.2])
def test_examination_is_found_where_pairs_are_seen_seldom(decay: float) -> None:
    theta = np.arange(1, PLACES + 1) ** -decay
    found = examination(*searched(theta, 20_000, noise=2), PLACES)
    assert found[0] == 1
    np.testing.assert_allclose(found, theta, atol=0.06)


def test_places_are_told_apart_from_what_is_good() -> None:
    """Good items are shown at the first two places, others anywhere: by choices per view alone,
    later places look worse than they are."""
    rng = np.random.default_rng(2)
    theta = np.array([1.0, 0.5, 0.3, 0.2])
    liked = rng.beta(1, 3, (30_000, 1))
    place = np.where(rng.random((30_000, 2)) < 0.5, 0, rng.integers(4, size=(30_000, 2)))
    place = np.where(liked > 0.3, np.minimum(place, 1), place)
    chosen = rng.random(place.shape) < theta[place] * liked
    cells = cells_of(np.repeat(np.arange(30_000), 2), place.ravel(), chosen.ravel())
    np.testing.assert_allclose(examination(*cells, 4), theta, atol=0.04)


def test_without_moves_the_prior_remains() -> None:
    """One place for each pair, or no choice, or nothing at all."""
    prior = np.arange(1, 5) ** -0.7
    diagonal, hundred = np.arange(4), np.full(4, 100.0)
    choices = np.array([50.0, 5, 1, 0])
    np.testing.assert_allclose(examination(diagonal, diagonal, hundred, choices, 4), prior)
    one = np.zeros(4, np.int64)
    np.testing.assert_allclose(examination(one, diagonal, hundred, np.zeros(4), 4), prior)
    none = np.zeros(0, np.int64)
    np.testing.assert_allclose(examination(none, none, none * 1.0, none * 1.0, 4), prior)


def test_few_moves_change_the_prior_a_little() -> None:
    """A pair shown as often at the second place as at the first, and chosen as often there."""
    prior = 2**-0.7
    found = [
        examination(np.zeros(2, np.int64), np.arange(2), views, views / 2, 2)[1]
        for views in np.array([[4.0, 4], [40, 40], [4000, 4000]])
    ]
    assert prior < found[0] < prior + 0.1 < found[1] < found[2]
    assert found[2] == pytest.approx(1, abs=0.01)


def test_first_places_tell_of_those_that_nothing_was_moved_to() -> None:
    for decay in (0.3, 1.2):
        pair, place, views, choices = searched(np.arange(1, 11) ** -decay, 20_000, noise=2)
        found = examination(pair, place, views, choices, 40)
        assert abs(found[39] - 40**-decay) < abs(40**-0.7 - 40**-decay) / 2


def test_choices_beyond_what_was_shown_do_not_count() -> None:
    """A place without views, and a robot's thousand clicks on one view."""
    pair, place, views, choices = searched(np.arange(1, 11) ** -0.6, 20_000, noise=2)
    clean = examination(pair, place, views, choices, PLACES)
    new = int(pair.max()) + 1
    with_lost = examination(
        np.append(pair, [new, new]),
        np.append(place, [3, 4]),
        np.append(views, [0, 7]),
        np.append(choices, [900, 2]),
        PLACES,
    )
    np.testing.assert_allclose(with_lost, clean)
    robot = examination(
        np.append(pair, [new, new]),
        np.append(place, [0, 8]),
        np.append(views, [1, 1]),
        np.append(choices, [0, 1000]),
        PLACES,
    )
    np.testing.assert_allclose(robot, clean, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_estimate_is_the_most_probable_one(seed: int, places: int) -> None:
    """Choices are multinomial among a pair's places; the logarithms of the places are normal, with
    mean -0.7 log k, a common deviation of the decay of 0.3, and own ones of a variance of 0.1."""
    rng = np.random.default_rng(seed)
    views = rng.poisson(1.5, (30, places)) * 1.0
    choices = rng.binomial(views.astype(int), 0.4) * 1.0
    steps = np.log(np.arange(1, places + 1))
    variance = 0.09 * np.outer(steps, steps) + 0.1 * np.eye(places)

    def improbability(rest: np.ndarray) -> float:
        level = np.append(0, rest)
        apart = level + 0.7 * steps
        value = 0.5 * apart @ np.linalg.solve(variance, apart)
        for shown, chosen in zip(views, choices, strict=True):
            for number in np.flatnonzero(chosen):
                share = shown[number] * np.exp(level[number]) / (shown @ np.exp(level))
                value -= chosen[number] * np.log(share)
        return float(value)

    wanted = minimize(improbability, -0.7 * steps[1:], method="BFGS").x
    pair, place = np.nonzero(np.ones_like(views))
    found = examination(pair, place, views.ravel(), choices.ravel(), places)
    np.testing.assert_allclose(found[1:], np.exp(np.minimum(wanted, 0)), atol=2e-4)
    start = examination(pair, place, views.ravel(), choices.ravel(), places, found)
    np.testing.assert_allclose(start, found, atol=1e-5)
