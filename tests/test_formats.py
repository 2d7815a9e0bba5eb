"""Lengths of time and numbers, as people write and read them."""

from __future__ import annotations

import pytest

from flowml import formats


@pytest.mark.parametrize(
    "seconds,shown", [(0.0123, "0.012 s"), (9.96, "10 s"), (59.6, "60 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_durations_are_for_people(seconds: float, shown: str) -> None:
    """Two digits, and the unit that fits."""
    assert formats.duration(seconds) == shown


def test_numbers_keep_the_digits_that_matter() -> None:
    """Whole numbers are whole, others have four digits, and what is not finite says so."""
    numbers = [12_345.0, 0.123456, 1e-9, 1e30, float("nan"), float("inf")]
    assert [formats.number(value) for value in numbers] == ["12,345", "0.1235", "1e-09", "1e+30", "nan", "inf"]
