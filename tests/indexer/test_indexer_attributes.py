"""The values of an attribute as numbers."""

from __future__ import annotations

import numpy as np
import pytest

from omnisearch.indexer.parts.attributes import Column

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["12.5", "7", "-3"], [12.5, 7, -3]),
        (["12,5", "7", "-0,25"], [12.5, 7, -0.25]),
        (["1,500", "12,5"], [1.5, 12.5]),
        (["1,500", "200"], [NAN, 200]),  # a thousand and a half, or one and a half
        (["12,5", "about 3"], [NAN, NAN]),
        (["12,5", "007"], [NAN, NAN]),
        (["1,2,3"], [NAN]),
        ([], []),
    ],
)
def test_a_decimal_comma_is_read_where_all_are_numbers(values, numbers) -> None:
    each = np.arange(len(values), dtype=np.int32)
    np.testing.assert_array_equal(Column(each, each, values).numbers, numbers)


def test_values_that_no_item_has_do_not_tell_what_a_comma_is() -> None:
    one = np.ones(2, np.int32)
    for gone in ("about 3", "1,500"):
        found = Column(one, one, [gone, "12,5"])
        assert found.numbers[1] == 12.5
    assert np.isnan(Column(one, one, ["12,5", "1,500"]).numbers[1])
