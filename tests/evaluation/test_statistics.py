"""Statistics against published examples and their own laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pirl.evaluation.statistics import (
    difference_interval,
    intervals_separate,
    mcnemar_exact,
    mean_interval,
    paired_comparison,
    wilson_interval,
)

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def test_published_examples() -> None:
    # Newcombe 1998 (two-sided intervals for the single proportion), 81/263 and 0/20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    # Newcombe 1998 (interval estimation for the difference), method 10, 56/70 - 48/80.
    assert difference_interval(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    # Two-sided sign test with 1 against 9: 22/1024.
    assert mcnemar_exact(1, 9) == pytest.approx(22 / 1024)
    # Student t with 2 degrees of freedom: 4.3027 standard errors.
    mean, (low, high) = mean_interval([0.8, 0.9, 1.0])
    assert mean == pytest.approx(0.9)
    assert high - low == pytest.approx(2 * 4.30265 * 0.1 / math.sqrt(3), rel=1e-4)


@given(counts)
def test_wilson_holds_the_proportion_and_mirrors(count: tuple[int, int]) -> None:
    successes, n = count
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    mirrored = wilson_interval(n - successes, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    wider = wilson_interval(successes, n, 0.99)
    assert wider[0] <= low + 1e-12 and wider[1] >= high - 1e-12


@given(counts, counts)
def test_difference_is_inside_and_antisymmetric(a: tuple[int, int], b: tuple[int, int]) -> None:
    low, high = difference_interval(*a, *b)
    assert low - 1e-9 <= b[0] / b[1] - a[0] / a[1] <= high + 1e-9
    assert difference_interval(*b, *a) == pytest.approx((-high, -low), abs=1e-9)
    if intervals_separate(wilson_interval(*a), wilson_interval(*b)):
        assert low > 0 or high < 0, "separate intervals imply a difference, not the reverse"


@given(outcomes)
def test_paired_counts_add_up_and_swap(pairs: list[tuple[bool, bool]]) -> None:
    a = {number: pair[0] for number, pair in enumerate(pairs)}
    b = {number: pair[1] for number, pair in enumerate(pairs)}
    result = paired_comparison(a, b)
    assert result.both + result.only_a + result.only_b + result.neither == len(pairs)
    assert result.difference == pytest.approx((sum(b.values()) - sum(a.values())) / len(pairs))
    assert -1 <= result.interval[0] <= result.interval[1] <= 1
    swapped = paired_comparison(b, a)
    assert swapped.p_value == pytest.approx(result.p_value)
    assert swapped.interval == pytest.approx((-result.interval[1], -result.interval[0]))
    assert paired_comparison(a, a).p_value == 1.0


def test_impossible_input_is_refused() -> None:
    for successes, episodes in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="no proportion"):
            wilson_interval(successes, episodes)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 95)
    with pytest.raises(ValueError, match="same episodes: 1 and 2 given, 1 in common"):
        paired_comparison({"a": True}, {"a": True, "b": False})
    with pytest.raises(ValueError, match="at least one"):
        paired_comparison({}, {})
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2)
    with pytest.raises(ValueError, match="at least 2"):
        mean_interval([0.5])
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.5, math.nan])
