"""What every stage script shares: its experiment, its wall time on record, and errors in one line."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pirl.experiment.config import load_experiment
from pirl.experiment.recipes import PI_RL_VARIANTS, REPLAY, WARM_START, split_seed, with_seed
from pirl.files import write_json_atomically, write_text_atomically
from pirl.tracking.tracker import RunTracker


def stage_parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the two arguments that every stage takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="experiment, e.g. configs/default.yaml")
    parser.add_argument(
        "--results", type=Path, default=None, help="results folder (default: results/<stem of the config>)"
    )
    return parser


@dataclass
class StageRun:
    """What a stage's body works with.

    Attributes:
        experiment: complete; the same for all seeds, so that they are evaluated alike.
        trained: the experiment with the seed that the recipe is trained with.
        recipe: whose run this is, without its seed.
    """

    experiment: dict[str, Any]
    trained: dict[str, Any]
    recipe: str | None
    results: Path
    tracker: RunTracker


@contextmanager
def stage(name: str, arguments: argparse.Namespace, recipe: str | None = None) -> Iterator[StageRun]:
    """Run a stage's body as one MLflow run, and record its wall time.

    Errors that a user can mend (wrong value, missing file, failed process) end the program with one line
    and exit status 1; the traceback goes to `<results>/logs/<name>.traceback`.

    Args:
        name: the stage; with a recipe, files are named `<name>_<recipe>`.
        arguments: of `stage_parser`.
        recipe: whose run this is, if anyone's; `sac/seed_1` is that of another seed.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    results = arguments.results or Path("results") / arguments.config.stem
    label = f"{name}_{recipe}" if recipe not in (None, name) else name
    details = results / "logs" / f"{label}.traceback"
    began = time.perf_counter()
    try:
        experiment = load_experiment(arguments.config)
        base, seed = split_seed(recipe) if recipe else (None, None)
        trained = with_seed(experiment, seed)
        with _tracker(trained, name, base, results / "tracking" / label) as tracker:
            yield StageRun(experiment, trained, base, results, tracker)
            wall_s = time.perf_counter() - began
            tracker.log_metrics({"time/stage_s": wall_s}, step=0)
    except (ValueError, OSError, RuntimeError) as error:
        write_text_atomically(details, traceback.format_exc())
        sys.exit(f"{label}: {error} (details: {details})")
    details.unlink(missing_ok=True)  # of an attempt that failed before
    write_json_atomically(results / "timings" / f"{label}.json", {"stage": label, "wall_s": wall_s})


def _tracker(experiment: dict[str, Any], name: str, recipe: str | None, folder: Path) -> RunTracker:
    algorithms = {"sac": "sac", WARM_START: "bc", REPLAY: "replay"} | dict.fromkeys(PI_RL_VARIANTS, "pi_rl")
    return RunTracker.for_stage(
        experiment["run"],
        stage=name,
        folder=folder,
        recipe=recipe,
        algorithm=algorithms[recipe] if recipe else None,
        variant=PI_RL_VARIANTS.get(recipe or ""),
        suite=experiment["suite"],
        seed=experiment["seed"],
        settings=experiment,
    )
