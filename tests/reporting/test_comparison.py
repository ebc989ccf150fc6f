"""The headline says no more than the intervals allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pirl.evaluation.statistics import intervals_separate, mean_interval, wilson_interval
from pirl.reporting.comparison import compare_with_warm_start, headline, headline_comparison, over_seeds
from pirl.reporting.results import load_results
from tests.reporting.made_results import make_results

TRAINED = ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]


def _results(folder: Path, **options):
    return load_results(make_results(folder, tasks=1, videos=False, **options), TRAINED)


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        (
            {"warm_start": 0.2, "pi_rl_flow_sde": 1.0, "pi_rl_flow_noise": 0.9, "sac": 0.1},
            " lifts success from ",
        ),
        (
            {"warm_start": 0.5, "pi_rl_flow_sde": 0.5, "pi_rl_flow_noise": 0.5, "sac": 0.5},
            "No separable difference",
        ),
        (
            {"warm_start": 1.0, "pi_rl_flow_sde": 0.1, "pi_rl_flow_noise": 0.1, "sac": 1.0},
            " lowers success from ",
        ),
    ],
)
def test_headline(tmp_path: Path, rates: dict[str, float], words: str) -> None:
    rows = compare_with_warm_start(_results(tmp_path, rates=rates, alike=True), "smoke")
    first = headline_comparison({"smoke": rows})
    assert first is not None
    assert first.recipe.name.startswith("pi_rl"), "SAC is the comparison, not the headline"
    assert words in headline(first)
    assert first.separate == intervals_separate(wilson_interval(*first.before), wilson_interval(*first.after))


def test_same_episodes_are_paired_and_others_are_not(tmp_path: Path) -> None:
    results = _results(tmp_path / "paired")
    assert all(row.p_value is not None for row in compare_with_warm_start(results, "smoke"))
    folder = make_results(tmp_path / "unpaired", tasks=1, videos=False)
    (folder / "warm_start" / "smoke_episodes.jsonl").unlink()
    rows = compare_with_warm_start(load_results(folder, TRAINED), "smoke")
    assert [row.p_value for row in rows] == [None, None, None]
    assert all(row.interval[0] <= row.gain <= row.interval[1] for row in rows)


def test_no_wide_test_gives_no_rows(tmp_path: Path) -> None:
    assert compare_with_warm_start(_results(tmp_path, wide=False), "smoke_wide") == []
    assert headline_comparison({"smoke_wide": []}) is None
    assert headline(None)


def test_wide_starts_head_the_report_where_they_are_tested(tmp_path: Path) -> None:
    results = _results(tmp_path)
    tests = {test: compare_with_warm_start(results, test) for test in ("smoke", "smoke_exact", "smoke_wide")}
    first = headline_comparison(tests)
    assert first is not None and first.protocol == "smoke_wide"
    first = headline_comparison(tests | {"smoke_wide": []})
    assert first is not None and first.protocol == "smoke"


def test_seeds_are_averaged_and_a_mean_is_better_only_where_every_seed_is(tmp_path: Path) -> None:
    folder = make_results(tmp_path, tasks=1, videos=False, seeds=3)
    results = load_results(folder, TRAINED, range(3))
    rows = compare_with_warm_start(results, "smoke")
    assert [row.label for row in rows[:3]] == ["Flow-SDE, seed 0", "Flow-SDE, seed 1", "Flow-SDE, seed 2"]
    for mean, seeds in zip(over_seeds(rows), (rows[0:3], rows[3:6], rows[6:9]), strict=True):
        gains = [row.gain for row in seeds]
        assert mean.gain == pytest.approx(sum(gains) / 3)
        assert mean.interval == pytest.approx(mean_interval(gains)[1])
        assert mean.after == tuple(sum(row.after[part] for row in seeds) for part in (0, 1))
        assert mean.separate == (len({row.verdict for row in seeds}) == 1 and seeds[0].separate)
    first = headline_comparison({"smoke": over_seeds(rows)})
    assert first is not None and first.label.startswith("PI-RL")
    assert headline(replace(first, separate=True)).endswith(" %, mean of 3 seeds")
    single = over_seeds([row for row in rows if row.recipe.seed == 0])
    assert [row.seeds for row in single] == [1, 1, 1]
