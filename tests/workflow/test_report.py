"""The report stage as a command, on made-up results and a real MLflow store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from tests.reporting.made_results import make_results

ROOT = Path(__file__).resolve().parents[2]


def _report(folder: Path, store: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "workflow/scripts/report.py"),
            "--config",
            str(ROOT / "configs/default.yaml"),
            "--results",
            str(folder),
            "--output-html",
            str(folder / "report.html"),
            "--output-json",
            str(folder / "report.json"),
        ],
        cwd=folder,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store}"},
        text=True,
        capture_output=True,
        timeout=200,
    )


def test_report_stage(tmp_path: Path) -> None:
    folder, store = make_results(tmp_path / "results", tasks=2), tmp_path / "mlflow.db"
    done = _report(folder, store)
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text())
    assert list(report["recipes"]) == ["warm_start", "pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]
    assert report["config"]["run"] == "default"
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == {
        "success",
        "curves_env_steps",
        "curves_wall_time",
        "tasks",
        "timings",
    }
    assert (folder / "timings" / "report.json").is_file()

    client = MlflowClient(f"sqlite:///{store}")
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("pirl").experiment_id], "tags.stage = 'pipeline'"
    )
    assert parent.info.run_name == "default"
    assert "eval/average/success_rate/sac" in parent.data.metrics
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"report.html", "report.json"}

    (folder / "sac" / "suites.json").unlink()
    (folder / "report.html").unlink()
    failed = _report(folder, store)
    assert failed.returncode == 1
    assert (
        "sac/suites.json: missing; stage suite_eval, recipe sac writes it" in failed.stderr.splitlines()[-1]
    )
    assert not (folder / "report.html").exists(), "nothing half-written"
