"""Intervals and comparisons of success counts: thin, checked calls of statsmodels and scipy."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

Interval = tuple[float, float]


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927).

    Raises:
        ValueError: unless 0 <= successes <= episodes, episodes >= 1 and 0 < confidence < 1.
    """
    _check_counts(successes, episodes)
    _check_confidence(confidence)
    low, high = proportion_confint(successes, episodes, alpha=1 - confidence, method="wilson")
    return max(0.0, float(low)), min(1.0, float(high))


def difference_interval(
    successes_a: int, episodes_a: int, successes_b: int, episodes_b: int, confidence: float = 0.95
) -> Interval:
    """Interval of the difference B minus A of two independent proportions (Newcombe 1998, method 10).

    Raises:
        ValueError: on impossible counts.
    """
    _check_counts(successes_a, episodes_a)
    _check_counts(successes_b, episodes_b)
    _check_confidence(confidence)
    low, high = confint_proportions_2indep(
        successes_b,
        episodes_b,
        successes_a,
        episodes_a,
        method="newcomb",
        compare="diff",
        alpha=1 - confidence,
    )
    return float(low), float(high)


def intervals_separate(a: Interval, b: Interval) -> bool:
    """Whether two intervals have no value in common: the report names a winner only then."""
    return a[1] < b[0] or b[1] < a[0]


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value that two policies are equally good, from the episodes on which they differ.

    Args:
        only_a: episodes that only A solved.
        only_b: episodes that only B solved.

    Raises:
        ValueError: on negative counts.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts of episodes cannot be negative: {only_a}, {only_b}")
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


@dataclass(frozen=True)
class PairedComparison:
    """Two policies on the same episodes.

    Attributes:
        both: episodes solved by A and by B.
        only_a: episodes solved by A alone.
        only_b: episodes solved by B alone.
        neither: episodes solved by none.
        difference: success rate of B minus that of A.
        interval: of the difference (Bonett and Price 2012, adjusted Wald).
        p_value: exact McNemar, two-sided.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval: Interval
    p_value: float


def paired_comparison(
    records_a: Mapping[Hashable, bool], records_b: Mapping[Hashable, bool], confidence: float = 0.95
) -> PairedComparison:
    """Compare policy B with policy A on the same episodes.

    Args:
        records_a: success by episode, keyed by what names it: suite, task and start.
        records_b: the same episodes.
        confidence: of the interval.

    Raises:
        ValueError: when the two are not about the same episodes, or about none.
    """
    _check_confidence(confidence)
    if records_a.keys() != records_b.keys():
        common = len(records_a.keys() & records_b.keys())
        raise ValueError(
            f"paired comparison needs the same episodes: {len(records_a)} and {len(records_b)} given,"
            f" {common} in common; test both policies with the same protocol"
        )
    if not records_a:
        raise ValueError("paired comparison needs at least one episode")
    pairs = [(bool(records_a[key]), bool(records_b[key])) for key in records_a]
    both, only_a = pairs.count((True, True)), pairs.count((True, False))
    only_b, neither = pairs.count((False, True)), pairs.count((False, False))
    n = len(pairs)
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = _normal_quantile(confidence) * math.sqrt((share_a + share_b - (share_b - share_a) ** 2) / (n + 2))
    centre = share_b - share_a
    return PairedComparison(
        both,
        only_a,
        only_b,
        neither,
        difference=(only_b - only_a) / n,
        interval=(max(-1.0, centre - half), min(1.0, centre + half)),
        p_value=mcnemar_exact(only_a, only_b),
    )


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, Interval]:
    """Mean over seeds and its Student t interval.

    Raises:
        ValueError: with fewer than two values, or one that is not finite.
    """
    _check_confidence(confidence)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least 2 values, got {len(values)}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values must be finite: {list(values)}")
    mean = math.fsum(values) / len(values)
    error = float(stats.sem(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean, (mean - half, mean + half)


def _normal_quantile(confidence: float) -> float:
    return float(stats.norm.ppf((1 + confidence) / 2))


def _check_counts(successes: int, episodes: int) -> None:
    if episodes < 1 or not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes are no proportion")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
