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
    none = np.zeros(0, np.int32)
    np.testing.assert_array_equal(Column(none, none, values).numbers, numbers)
