"""Figures are valid, self-contained SVG and show what they are given."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pirl.reporting.figures import (
    _axis,
    _settled,
    all_figures,
    duration,
    learning_curves,
    split_stage,
    task_heat_map,
)
from pirl.reporting.results import load_results
from tests.reporting.made_results import make_results

TRAINED = ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]


def test_every_figure_is_a_file_of_its_own(tmp_path: Path) -> None:
    figures = all_figures(load_results(make_results(tmp_path, seeds=2, tasks=2), TRAINED, (0, 1)))
    assert list(figures) == ["success", "curves_env_steps", "curves_wall_time", "tasks", "timings"]
    for title, canvas in figures.values():
        root = ElementTree.fromstring(canvas.render(title, standalone=True))
        assert root.attrib["aria-label"] == title
        text = ElementTree.tostring(root, encoding="unicode")
        assert "prefers-color-scheme: dark" in text
        assert "nan" not in text
        for element in root.iter():
            for name in ("x", "cx", "x1", "x2"):
                if name in element.attrib:
                    assert -1 <= float(element.attrib[name]) <= canvas.width + 1


def test_several_seeds_have_a_band_and_one_has_none(tmp_path: Path) -> None:
    one = load_results(make_results(tmp_path / "one", tasks=1, videos=False), TRAINED)
    folder = make_results(tmp_path / "three", seeds=3, tasks=1, videos=False)
    three = load_results(folder, TRAINED, seeds=(0, 1, 2))
    assert learning_curves(one.recipes, "env_steps").render("", standalone=False).count("<polygon") == 0
    assert learning_curves(three.recipes, "env_steps").render("", standalone=False).count("<polygon") == 3


def test_a_curve_begins_when_its_share_means_something() -> None:
    points = [{"episodes": n, "env_steps": 100 * n, "success_rate": 1.0} for n in (1, 5, 10, 12)]
    assert _settled(points) == points[2:]
    assert _settled(points[:2]) == points[:2]


def test_a_run_without_training_episodes_says_so(tmp_path: Path) -> None:
    results = load_results(make_results(tmp_path, tasks=1, videos=False), TRAINED)
    for recipe in results.recipes[1:]:
        recipe.training["curve"] = []
    assert "no training episodes" in learning_curves(results.recipes, "wall_s").render("", standalone=False)


def test_long_suites_continue_in_a_further_block(tmp_path: Path) -> None:
    results = load_results(make_results(tmp_path, tasks=12, videos=False), TRAINED)
    picture = task_heat_map(results.recipes, ["libero_goal"]).render("", standalone=False)
    assert picture.count(">libero_goal<") == 2
    assert picture.count("<title>") == 4 * 12


@given(st.floats(1, 1e8), st.sampled_from(["env_steps", "wall_s"]))
def test_ticks_are_few_and_within_the_axis(longest: float, x_key: str) -> None:
    ticks, label, _ = _axis(longest, x_key)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] == 0
    assert ticks[-1] <= longest * (1 + 1e-6)
    assert len({label(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("train_pi_rl_flow_sde", ("train", "pi_rl_flow_sde")),
        ("smoke_wide_sac", ("smoke_wide", "sac")),
        ("warm_start", ("warm_start", None)),
        ("smoke_warm_start", ("smoke", "warm_start")),
    ],
)
def test_stage_names_divide(stage: str, parts: tuple[str, str | None]) -> None:
    assert split_stage(stage, ["warm_start", *TRAINED]) == parts


def test_durations() -> None:
    assert [duration(seconds) for seconds in (3.2, 600, 9000)] == ["3 s", "10 min", "2.5 h"]
