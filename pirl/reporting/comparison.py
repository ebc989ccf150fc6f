"""Trained recipes against the warm start, and the sentence that heads the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pirl.evaluation.plan import HEADLINE_TESTS
from pirl.evaluation.statistics import (
    Interval,
    difference_interval,
    intervals_separate,
    mean_interval,
    paired_comparison,
    wilson_interval,
)
from pirl.reporting.results import LABELS, RecipeResults, RunResults

PROTOCOL_LABELS = {
    "smoke": "official initial states",
    "smoke_wide": "wide starts",
    "smoke_exact": "official initial states, stock rendering",
}


@dataclass(frozen=True)
class Comparison:
    """A trained recipe against the warm start in one test on the trained tasks.

    Attributes:
        protocol: of `PROTOCOL_LABELS`.
        before: successes and episodes of the warm start.
        after: those of the recipe.
        gain: difference of the success rates, after minus before.
        interval: 95 % interval of the gain.
        p_value: exact McNemar on the same episodes; None when the two were not paired.
        separate: whether the two Wilson intervals have no value in common; over seeds: those of every seed.
        seeds: trainings of the recipe that it is a mean over.
    """

    recipe: RecipeResults
    protocol: str
    before: tuple[int, int]
    after: tuple[int, int]
    gain: float
    interval: Interval
    p_value: float | None
    separate: bool
    seeds: int = 1

    @property
    def label(self) -> str:
        """Whose gain this is."""
        return LABELS[self.recipe.name] if self.seeds > 1 else self.recipe.label

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not separable`."""
        if not self.separate:
            return "not separable"
        return "better" if self.gain > 0 else "worse"


def compare_with_warm_start(results: RunResults, protocol: str) -> list[Comparison]:
    """One comparison per trained policy; none when the test was not run."""
    warm_start = results.warm_start
    before = warm_start.test(protocol)
    comparisons = []
    for recipe in results.recipes[1:]:
        after = recipe.test(protocol)
        if before is None or after is None:
            continue
        interval, p_value = difference_interval(*before, *after), None
        episodes_before, episodes_after = warm_start.episodes[protocol], recipe.episodes[protocol]
        if episodes_before and episodes_before.keys() == episodes_after.keys():
            paired = paired_comparison(episodes_before, episodes_after)
            interval, p_value = paired.interval, paired.p_value
        gain = after[0] / after[1] - before[0] / before[1]
        separate = intervals_separate(wilson_interval(*before), wilson_interval(*after))
        comparisons.append(Comparison(recipe, protocol, before, after, gain, interval, p_value, separate))
    return comparisons


def over_seeds(comparisons: list[Comparison]) -> list[Comparison]:
    """One comparison per recipe: mean gain over its seeds, with Student's t interval where there are several.

    A mean over seeds is called better or worse where every single seed is.
    """
    recipes: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        recipes.setdefault(comparison.recipe.name, []).append(comparison)
    return [found[0] if len(found) == 1 else _mean(found) for found in recipes.values()]


def _mean(seeds: list[Comparison]) -> Comparison:
    first = seeds[0]
    gain, interval = mean_interval([seed.gain for seed in seeds])
    verdicts = {seed.verdict for seed in seeds}
    return replace(
        first,
        after=(sum(seed.after[0] for seed in seeds), sum(seed.after[1] for seed in seeds)),
        gain=gain,
        interval=interval,
        p_value=None,
        separate=len(verdicts) == 1 and first.separate,
        seeds=len(seeds),
    )


def headline_comparison(tests: Mapping[str, list[Comparison]]) -> Comparison | None:
    """The PI-RL recipe with the higher success; else, without PI-RL, the best of the others.

    Args:
        tests: from `over_seeds`, by protocol; the first of `HEADLINE_TESTS` that was made counts.
    """
    comparisons = next((tests[name] for name in HEADLINE_TESTS if tests.get(name)), [])
    pi_rl = [comparison for comparison in comparisons if comparison.recipe.name.startswith("pi_rl")]
    return max(pi_rl or comparisons, key=lambda comparison: comparison.gain, default=None)


def headline(comparison: Comparison | None) -> str:
    """One sentence, no stronger than the intervals allow."""
    if comparison is None:
        return "The warm start, tested"
    name = comparison.label
    if not comparison.separate:
        return f"No separable difference between {name} and its warm start"
    before, after = (round(100 * n / of) for n, of in (comparison.before, comparison.after))
    verb = "lifts" if comparison.gain > 0 else "lowers"
    mean = f", mean of {comparison.seeds} seeds" if comparison.seeds > 1 else ""
    return f"{name} {verb} success from {before} % to {after} %{mean}"
