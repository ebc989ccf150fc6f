"""Reads what the stages left in a results folder, and puts `report.json` together."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pirl.files import read_json_lines

WARM_START = "warm_start"
LABELS = {
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
    """One recipe's files.

    Attributes:
        name: `warm_start`, `pi_rl_flow_sde`, `pi_rl_flow_noise` or `sac`.
        training: one `train.json` per seed; empty for the warm start.
        selected: `selected.json`.
        smoke: test on the trained tasks, official initial states.
        smoke_wide: the same from wide starts, if tested.
        suites: test on whole suites.
        episodes: success by episode of each of these tests, keyed by test and by what names the episode.
        videos: recorded episodes.
    """

    name: str
    training: list[dict[str, Any]]
    selected: dict[str, Any]
    smoke: dict[str, Any]
    smoke_wide: dict[str, Any] | None
    suites: dict[str, Any]
    episodes: dict[str, dict[Hashable, bool]]
    videos: list[Path]

    @property
    def label(self) -> str:
        """The name for readers."""
        return LABELS.get(self.name, self.name)

    def test(self, protocol: str) -> tuple[int, int] | None:
        """Successes and episodes of `smoke` or `smoke_wide`; None when it was not run."""
        summary = self.smoke if protocol == "smoke" else self.smoke_wide
        return None if summary is None else count(summary)


@dataclass(frozen=True)
class RunResults:
    """A results folder.

    Attributes:
        recipes: the warm start first, then the trained ones in the experiment's order.
        timings_s: wall seconds by stage.
    """

    folder: Path
    recipes: list[RecipeResults]
    timings_s: dict[str, float]

    @property
    def warm_start(self) -> RecipeResults:
        """What the trained recipes are compared with."""
        return self.recipes[0]


def load_results(folder: Path, recipes: list[str]) -> RunResults:
    """Read a results folder.

    Args:
        folder: `results/<run>`.
        recipes: the trained recipes; the warm start is added.

    Raises:
        ReportError: naming the file that is missing or damaged and the stage that writes it.
    """
    folder = Path(folder)
    timings = {}
    for path in sorted((folder / "timings").glob("*.json")):
        timing = _read(path, "the stage of that name")
        timings[timing["stage"]] = float(timing["wall_s"])
    return RunResults(folder, [_load_recipe(folder, name) for name in [WARM_START, *recipes]], timings)


def report_json(
    experiment: Mapping[str, Any], results: RunResults, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The report in numbers, for DVC, scripts and tests."""
    return {
        "config": dict(experiment),
        "git_sha": provenance["git_sha"],
        "recipes": {recipe.name: _recipe_json(recipe, results.timings_s) for recipe in results.recipes},
        "timings_s": results.timings_s,
        "provenance": dict(provenance),
    }


def count(summary: Mapping[str, Any]) -> tuple[int, int]:
    """Successes and episodes of an evaluation summary, over all its suites."""
    suites = summary["suites"].values()
    return sum(suite["successes"] for suite in suites), sum(suite["episodes"] for suite in suites)


def _recipe_json(recipe: RecipeResults, timings_s: Mapping[str, float]) -> dict[str, Any]:
    if recipe.training:
        first = recipe.training[0]
        spent = {key: first[key] for key in ("env_steps", "episodes", "wall_s")}
        curve = [
            {key: point[key] for key in ("env_steps", "success_rate", "episodes", "wall_s")}
            for point in first["curve"]
        ]
    else:
        spent = {"env_steps": 0, "episodes": 0, "wall_s": timings_s.get(recipe.name, 0.0)}
        curve = []
    tests = {}
    for protocol in ("smoke", "smoke_wide"):
        outcome = recipe.test(protocol)
        if outcome is not None:
            tests[protocol] = {"successes": outcome[0], "episodes": outcome[1]}
    suites = {
        name: {key: suite[key] for key in ("successes", "episodes", "success_rate", "ci95")}
        for name, suite in recipe.suites["suites"].items()
    }
    return {
        **spent,
        "selected_checkpoint": recipe.selected["selected_checkpoint"],
        "curve": curve,
        **tests,
        "suites": suites,
        "average_success_rate": recipe.suites["average_success_rate"],
    }


def _load_recipe(folder: Path, name: str) -> RecipeResults:
    own = folder / name
    training = []
    if name != WARM_START:
        training = [_read(own / "train.json", f"stage train, recipe {name}")]
        # Further seeds, each in a folder of its own.
        training += [_read(path, "stage train") for path in sorted(own.glob("*/train.json"))]
    smoke = _read(own / "smoke.json", f"stage smoke_eval, recipe {name}")
    wide = own / "smoke_wide.json"
    smoke_wide = _read(wide, "stage smoke_eval") if wide.is_file() else None
    suites = _read(own / "suites.json", f"stage suite_eval, recipe {name}")
    tests = {"smoke": smoke, "smoke_wide": smoke_wide, "suites": suites}
    return RecipeResults(
        name=name,
        training=training,
        selected=_read(own / "selected.json", f"stage select, recipe {name}"),
        smoke=smoke,
        smoke_wide=smoke_wide,
        suites=suites,
        episodes={test: _episodes(own, summary) for test, summary in tests.items() if summary is not None},
        videos=sorted(path for path in (own / "videos").glob("*") if path.suffix in VIDEO_SUFFIXES),
    )


def _episodes(own: Path, summary: Mapping[str, Any]) -> dict[Hashable, bool]:
    file = summary.get("episodes_file")
    records = read_json_lines(own / Path(file).name) if file else []
    key = ("suite", "task_id", "start_kind", "start_index", "start_seed")
    return {tuple(record[part] for part in key): bool(record["success"]) for record in records}


def _read(path: Path, writer: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{path}: missing; {writer} writes it: run that stage first") from None
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}: not valid JSON ({error}); run {writer} again") from None
