"""Agreement of judges, against published examples and a plain reading of the definitions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import isnan

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from omnisearch.evaluation.judging.agreement import (
    LEVELS,
    fleiss_kappa,
    krippendorff_alpha,
    raw_agreement,
)

VALUES = np.arange(1, 6)

# Fourteen raters, ten subjects, five categories: Wikipedia, "Fleiss' kappa".
FOURTEEN = """
0 0 0 0 14 / 0 2 6 4 2 / 0 0 3 5 6 / 0 3 9 2 0 / 2 2 8 1 1
7 7 0 0 0 / 3 2 6 3 0 / 2 5 3 2 2 / 6 5 2 1 0 / 0 2 2 3 7
"""
# The diagnoses of Fleiss (1971), "Measuring nominal scale agreement among many raters", six raters
# a patient, sorted within a patient.
DIAGNOSES = """
444444 222555 233335 555555 222444 113333 333355 113334 114444 555555
144444 124444 222333 144444 224445 333335 111455 111112 224444 133555
555555 244444 224555 114444 144445 222224 111155 224444 133333 555555
"""
# Krippendorff's alpha on Wikipedia: three coders, fifteen units, * is missing.
THREE_CODERS = """
* * * * * 3 4 1 2 1 1 3 3 * 3
1 * 2 1 3 3 4 3 * * * * * * *
* * 2 1 3 4 4 * 2 1 1 3 3 * 4
"""
# Krippendorff, "Computing Krippendorff's Alpha-Reliability": four observers, twelve units.
FOUR_OBSERVERS = """
1 2 3 3 2 1 4 1 2 * * *
1 2 3 3 2 2 4 1 2 5 * 3
* 3 3 3 2 3 4 2 2 5 1 *
1 2 3 3 2 4 4 1 2 5 1 *
"""


def units_of(table: str) -> list[list[int]]:
    """The values of each unit, from a table with a line for each judge."""
    columns = zip(*(line.split() for line in table.strip().splitlines()), strict=True)
    return [[int(value) for value in column if value != "*"] for column in columns]


def counts_of(units: list[list[int]]) -> np.ndarray:
    return np.array([[unit.count(value) for value in VALUES] for unit in units]).reshape(-1, 5)


def test_kappa_of_the_published_tables() -> None:
    rows = FOURTEEN.replace("\n", "/").split("/")
    counts = np.array([list(map(int, row.split())) for row in rows if row.strip()])
    assert round(fleiss_kappa(counts, 14), 3) == 0.210
    patients = [[int(digit) for digit in word] for word in DIAGNOSES.split()]
    assert round(fleiss_kappa(counts_of(patients), 6), 3) == 0.430


@pytest.mark.parametrize(
    ("table", "published"),
    [
        (THREE_CODERS, {"nominal": 0.691, "ordinal": 0.807, "interval": 0.811}),
        (FOUR_OBSERVERS, {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}),
    ],
)
def test_alpha_of_the_published_tables(table: str, published: dict[str, float]) -> None:
    counts = counts_of(units_of(table))
    found = {level: round(krippendorff_alpha(counts, VALUES, level), 3) for level in LEVELS}
    assert found == published


def plain_kappa(units: list[list[int]], judgments: int) -> float:
    """Two judgments of one pair, against two of any pairs, with putting back."""
    units = [unit for unit in units if len(unit) == judgments]
    same = [a == b for unit in units for a, b in permutations(unit, 2)]
    everything = [value for unit in units for value in unit]
    chance = np.mean([a == b for a in everything for b in everything])
    return float((np.mean(same) - chance) / (1 - chance))


def plain_alpha(units: list[list[int]], level: str) -> float:
    """1 - observed / expected disagreement, each pair of judgments looked at by itself."""
    units = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in units for value in unit]

    def between(a: int, b: int) -> float:
        low, high = min(a, b), max(a, b)
        inside = sum(low <= value <= high for value in everything)
        return inside - (everything.count(a) + everything.count(b)) / 2

    distance: dict[str, Callable[[int, int], float]] = {
        "nominal": lambda a, b: float(a != b),
        "ordinal": lambda a, b: 0.0 if a == b else between(a, b),
        "interval": lambda a, b: float(a - b),
    }
    apart = distance[level]
    n = len(everything)
    observed = sum(
        sum(apart(a, b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    expected = sum(apart(a, b) ** 2 for a, b in permutations(everything, 2)) / (n - 1)
    return 1 - observed / expected


UNITS = st.lists(st.lists(st.integers(1, 5), max_size=5), min_size=1, max_size=12)


@given(UNITS, st.sampled_from(LEVELS))
def test_alpha_equals_the_plain_reading_of_its_definition(
    units: list[list[int]], level: str
) -> None:
    values = {value for unit in units if len(unit) > 1 for value in unit}
    found = krippendorff_alpha(counts_of(units), VALUES, level)
    if len(values) < 2:
        assert isnan(found)
    else:
        assert found == pytest.approx(plain_alpha(units, level))


@given(UNITS)
def test_kappa_equals_the_plain_reading_of_its_definition(units: list[list[int]]) -> None:
    assume(len({value for unit in units if len(unit) == 3 for value in unit}) > 1)
    assert fleiss_kappa(counts_of(units), 3) == pytest.approx(plain_kappa(units, 3))


def test_raw_agreement_counts_pairs_of_judges() -> None:
    assert raw_agreement(counts_of([[1, 1, 2], [4, 4, 4], [3]])) == pytest.approx((1 / 3 + 1) / 2)


def test_what_is_not_defined_is_nan() -> None:
    for units in ([], [[3], [4]], [[3, 3, 3], [3, 3, 3]]):
        counts = counts_of(units)
        assert isnan(fleiss_kappa(counts, 3))
        assert all(isnan(krippendorff_alpha(counts, VALUES, level)) for level in LEVELS)
    assert isnan(raw_agreement(counts_of([[1], []])))
