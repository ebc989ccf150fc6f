"""A stage knows whose run it is, and leaves its wall time, or why it failed."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pirl.experiment.config import PROJECT_ROOT
from pirl.experiment.stage import stage, stage_parser
from pirl.tracking.store import tracking_uri


def test_a_further_seed_has_a_folder_and_a_run_of_its_own(tmp_path: Path) -> None:
    config = PROJECT_ROOT / "configs" / "smoke.yaml"
    arguments = stage_parser("test").parse_args(["--config", str(config), "--results", str(tmp_path)])
    with stage("train", arguments, "sac/seed_2") as run:
        assert (run.recipe, run.trained["seed"], run.experiment["seed"]) == ("sac", 2, 0)
    timing = json.loads((tmp_path / "timings" / "train_sac" / "seed_2.json").read_text())
    assert timing["stage"] == "train_sac/seed_2"
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pirl")
    (found,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'train-sac-seed2'")
    assert (found.data.tags["recipe"], found.data.tags["seed"]) == ("sac", "2")


def test_details_of_a_failure_stay_until_the_stage_succeeds(tmp_path: Path) -> None:
    config = PROJECT_ROOT / "configs" / "smoke.yaml"
    arguments = stage_parser("test").parse_args(["--config", str(config), "--results", str(tmp_path)])
    details = tmp_path / "logs" / "demos.traceback"
    with pytest.raises(SystemExit, match="demos: no room"), stage("demos", arguments):
        raise OSError("no room")
    assert "no room" in details.read_text()
    with stage("demos", arguments):
        pass
    assert not details.exists()
