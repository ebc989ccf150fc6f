"""Reads what the stages left in a results folder, and puts `report.json` together."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pirl.experiment.recipes import REPLAY, WARM_START, split_seed
from pirl.files import read_json_lines

TEST_STAGES = {
    "smoke": "smoke_eval",
    "smoke_wide": "smoke_eval",
    "smoke_exact": "smoke_eval",
    "suites": "suite_eval",
}
"""Final tests, and the stages that run them."""
REQUIRED = ("smoke", "suites")
LABELS = {
    REPLAY: "Blind replay",
    WARM_START: "Warm start",
    "pi_rl_flow_sde": "PI-RL Flow-SDE",
    "pi_rl_flow_noise": "PI-RL Flow-Noise",
    "sac": "SAC",
}
VIDEO_SUFFIXES = (".mp4", ".gif")


class ReportError(ValueError):
    """A results folder is incomplete or damaged; the message names the file and who writes it."""


@dataclass(frozen=True)
class RecipeResults:
    """The files of one policy: of the blind replay, the warm start, or a recipe trained with one seed.

    Attributes:
        path: its folder's name: `replay`, `warm_start`, a recipe, or `<recipe>/seed_<n>`.
        seed: of its training; None where the recipe has but one.
        training: `train.json`; None where nothing was trained online.
        selected: `selected.json`.
        tests: summaries of the final tests that were run, of `TEST_STAGES`.
        episodes: success by episode of each of these tests, keyed by test and by what names the episode.
        videos: recorded episodes.
    """

    path: str
    seed: int | None
    training: dict[str, Any] | None
    selected: dict[str, Any]
    tests: dict[str, dict[str, Any]]
    episodes: dict[str, dict[Hashable, bool]]
    videos: list[Path]

    @property
    def name(self) -> str:
        """The recipe, whatever its seed."""
        return split_seed(self.path)[0]

    @property
    def label(self) -> str:
        """The name for readers."""
        label = LABELS.get(self.name, self.name)
        return label if self.seed is None else f"{label.removeprefix('PI-RL ')}, seed {self.seed}"

    @property
    def suites(self) -> dict[str, Any]:
        """The test on whole suites: outcome by suite."""
        return self.tests["suites"]["suites"]

    @property
    def average(self) -> float | None:
        """Mean of the suites' success rates."""
        return self.tests["suites"]["average_success_rate"]

    def test(self, name: str) -> tuple[int, int] | None:
        """Successes and episodes of a test; None when it was not run."""
        outcome = count(self.tests[name]) if name in self.tests else (0, 0)
        return outcome if outcome[1] else None


@dataclass(frozen=True)
class RunResults:
    """A results folder.

    Attributes:
        replay: the floor.
        recipes: the warm start first, then the trained ones in the experiment's order, seed by seed.
        timings_s: wall seconds by stage.
    """

    folder: Path
    replay: RecipeResults
    recipes: list[RecipeResults]
    timings_s: dict[str, float]

    @property
    def warm_start(self) -> RecipeResults:
        """What the trained recipes are compared with."""
        return self.recipes[0]

    @property
    def rows(self) -> list[RecipeResults]:
        """Everything that was tested, the floor first."""
        return [self.replay, *self.recipes]


def load_results(folder: Path, recipes: list[str], seeds: Sequence[int] = (0,)) -> RunResults:
    """Read a results folder.

    Args:
        folder: `results/<run>`.
        recipes: the trained recipes; warm start and replay are added.
        seeds: that each was trained with, the experiment's own first.

    Raises:
        ReportError: naming the file that is missing or damaged and the stage that writes it.
    """
    folder = Path(folder)
    timings = {}
    for path in sorted((folder / "timings").rglob("*.json")):
        timing = read_result(path, "the stage of that name")
        timings[timing["stage"]] = float(timing["wall_s"])
    trained = [
        _load_recipe(folder, name if seed == seeds[0] else f"{name}/seed_{seed}", seed if seeds[1:] else None)
        for name in recipes
        for seed in seeds
    ]
    replay, warm_start = (_load_recipe(folder, name, None) for name in (REPLAY, WARM_START))
    return RunResults(folder, replay, [warm_start, *trained], timings)


def report_json(
    experiment: Mapping[str, Any], results: RunResults, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The report in numbers, for DVC, scripts and tests."""
    return {
        "config": dict(experiment),
        "git_sha": provenance["git_sha"],
        "replay": _recipe_json(results.replay, results.timings_s),
        "recipes": {recipe.path: _recipe_json(recipe, results.timings_s) for recipe in results.recipes},
        "timings_s": results.timings_s,
        "provenance": dict(provenance),
    }


def count(summary: Mapping[str, Any]) -> tuple[int, int]:
    """Successes and episodes of an evaluation summary, over all its suites."""
    suites = summary["suites"].values()
    return sum(suite["successes"] for suite in suites), sum(suite["episodes"] for suite in suites)


def _recipe_json(recipe: RecipeResults, timings_s: Mapping[str, float]) -> dict[str, Any]:
    training = recipe.training or {
        "env_steps": 0,
        "episodes": 0,
        "wall_s": timings_s.get(recipe.path, 0.0),
        "curve": [],
    }
    outcomes = {name: recipe.test(name) for name in TEST_STAGES if name != "suites"}
    return {
        **{key: training[key] for key in ("env_steps", "episodes", "wall_s")},
        "selected_checkpoint": recipe.selected["selected_checkpoint"],
        "curve": [
            {key: point[key] for key in ("env_steps", "success_rate", "episodes", "wall_s")}
            for point in training["curve"]
        ],
        **{name: {"successes": of[0], "episodes": of[1]} for name, of in outcomes.items() if of},
        "suites": {
            name: {key: suite[key] for key in ("successes", "episodes", "success_rate", "ci95")}
            for name, suite in recipe.suites.items()
        },
        "average_success_rate": recipe.average,
    }


def _load_recipe(folder: Path, path: str, seed: int | None) -> RecipeResults:
    own = folder / path
    trained = path not in (REPLAY, WARM_START)
    tests = {
        test: read_result(own / f"{test}.json", f"stage {stage}, recipe {path}")
        for test, stage in TEST_STAGES.items()
        if test in REQUIRED or (own / f"{test}.json").is_file()
    }
    return RecipeResults(
        path=path,
        seed=seed,
        training=read_result(own / "train.json", f"stage train, recipe {path}") if trained else None,
        selected=read_result(own / "selected.json", f"stage {'select' if trained else path}, recipe {path}"),
        tests=tests,
        episodes={test: read_episodes(own, summary) for test, summary in tests.items()},
        videos=sorted(file for file in (own / "videos").glob("*") if file.suffix in VIDEO_SUFFIXES),
    )


def read_episodes(own: Path, summary: Mapping[str, Any]) -> dict[Hashable, bool]:
    """Success by episode, keyed by what names it, of a test whose summary lies in the folder `own`."""
    file = summary.get("episodes_file")
    records = read_json_lines(own / Path(file).name) if file else []
    key = ("suite", "task_id", "start_kind", "start_index", "start_seed")
    return {tuple(record[part] for part in key): bool(record["success"]) for record in records}


def read_result(path: Path, writer: str) -> dict[str, Any]:
    """A stage's JSON.

    Raises:
        ReportError: naming the file and who writes it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{path}: missing; {writer} writes it: run that stage first") from None
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}: not valid JSON ({error}); run {writer} again") from None
