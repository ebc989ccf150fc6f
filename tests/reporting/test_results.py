"""Reading a results folder and putting report.json together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pirl.reporting.results import ReportError, load_results, report_json
from tests.reporting.made_results import make_results

TRAINED = ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]


def test_report_json_holds_every_recipe(tmp_path: Path) -> None:
    results = load_results(make_results(tmp_path, tasks=2), TRAINED)
    report = report_json({"run": "made"}, results, {"git_sha": "abc"})
    assert list(report["recipes"]) == ["warm_start", *TRAINED]
    assert report["git_sha"] == "abc"
    assert report["timings_s"]["demos"] == 210.0
    sac = report["recipes"]["sac"]
    assert sac["env_steps"] == 40066
    assert sac["selected_checkpoint"] == "0026000"
    assert {"env_steps", "success_rate", "episodes"} <= sac["curve"][0].keys()
    assert sac["smoke"]["episodes"] == sac["smoke_wide"]["episodes"] == 60
    suite = sac["suites"]["libero_goal"]
    assert suite.keys() == {"successes", "episodes", "success_rate", "ci95"}
    assert suite["ci95"][0] <= suite["success_rate"] <= suite["ci95"][1]
    warm_start = report["recipes"]["warm_start"]
    assert (warm_start["env_steps"], warm_start["curve"]) == (0, [])
    assert warm_start["wall_s"] == 640.0
    json.dumps(report, allow_nan=False)


def test_wide_starts_are_optional(tmp_path: Path) -> None:
    results = load_results(make_results(tmp_path, wide=False, tasks=1), TRAINED)
    assert "smoke_wide" not in report_json({}, results, {"git_sha": "abc"})["recipes"]["sac"]


@pytest.mark.parametrize("name", ["train.json", "selected.json", "smoke.json", "suites.json"])
def test_a_missing_file_is_named_with_its_stage(tmp_path: Path, name: str) -> None:
    folder = make_results(tmp_path, tasks=1, wide=False, videos=False)
    (folder / "sac" / name).unlink()
    with pytest.raises(ReportError, match=rf"sac/{name}: missing; stage \w+, recipe sac writes it"):
        load_results(folder, TRAINED)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = make_results(tmp_path, tasks=1, wide=False, videos=False)
    (folder / "sac" / "smoke.json").write_text("{")
    with pytest.raises(ReportError, match=r"sac/smoke\.json: not valid JSON"):
        load_results(folder, TRAINED)
