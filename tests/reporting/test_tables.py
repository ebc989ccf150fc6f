"""The small files that DVC compares recipes by."""

import csv
import json
from pathlib import Path

from pirl.reporting.results import load_results, report_json
from pirl.reporting.tables import write_tables
from tests.reporting.made_results import RATES, make_results

RECIPES = [name for name in RATES if name != "warm_start"]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_every_recipe_has_the_same_metrics_and_its_curve(tmp_path):
    folder = make_results(tmp_path, tasks=2)
    report = report_json({}, load_results(folder, RECIPES), {"git_sha": None})
    write_tables(folder, report["recipes"])
    metrics = {name: read(folder / name / "metrics.json") for name in RATES}
    assert len({(frozenset(found["eval"]), frozenset(found["train"])) for found in metrics.values()}) == 1
    for name, found in metrics.items():
        for test in ("smoke", "smoke_wide", "smoke_exact"):
            (suite,) = read(folder / name / f"{test}.json")["suites"].values()
            assert found["eval"][test] == {"success_rate": suite["successes"] / suite["episodes"]}
        average = read(folder / name / "suites.json")["average_success_rate"]
        assert found["eval"]["average"] == {"success_rate": average}
    for name in RECIPES:
        with open(folder / name / "curve.csv", newline="") as file:
            points = [
                (int(point["env_steps"]), float(point["success_rate"])) for point in csv.DictReader(file)
            ]
        curve = read(folder / name / "train.json")["curve"]
        assert points == [(point["env_steps"], point["success_rate"]) for point in curve]
    assert not (folder / "warm_start" / "curve.csv").exists()
