"""Each recipe's numbers and learning curve as files, which `dvc metrics` and `dvc plots` lay side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pirl.files import write_json_atomically, write_text_atomically
from pirl.reporting.comparison import PROTOCOL_LABELS


def write_tables(folder: Path, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `<folder>/<recipe>/metrics.json`, and `curve.csv` for recipes that were trained.

    Args:
        folder: `results/<run>`.
        recipes: the entry `recipes` of `report_json`.
    """
    for name, numbers in recipes.items():
        write_json_atomically(Path(folder, name, "metrics.json"), recipe_metrics(numbers))
        if curve := numbers["curve"]:
            text = io.StringIO()
            table = csv.DictWriter(text, fieldnames=list(curve[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(curve)
            write_text_atomically(Path(folder, name, "curve.csv"), text.getvalue())


def recipe_metrics(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Success rates under MLflow's names (`eval/smoke/success_rate`), and what training took."""
    tests = {test: numbers[test] for test in PROTOCOL_LABELS if test in numbers}
    rates = {test: counts["successes"] / counts["episodes"] for test, counts in tests.items()}
    rates |= {suite: counts["success_rate"] for suite, counts in numbers["suites"].items()}
    rates["average"] = numbers["average_success_rate"]
    return {
        "eval": {name: {"success_rate": rate} for name, rate in rates.items()},
        "train": {key: numbers[key] for key in ("env_steps", "episodes", "wall_s")},
    }
