"""Policies that the warm start takes as they are."""

import json
from pathlib import Path

import pytest
import yaml

from tests.policies.tiny import save_xvla


@pytest.fixture(scope="module")
def stage(load_stage):
    return load_stage("warm_start")


def taken(stage, folder: Path, checkpoint: Path, **experiment) -> Path:
    """Run the stage on a checkpoint that is taken as it is."""
    path = folder / "mine.yaml"
    simulation = {"chunk_size": 4, "cameras": ["agentview", "robot0_eye_in_hand"], "height": 32, "width": 32}
    policy = {"path": str(checkpoint), "settings": {"type": "xvla", **experiment.pop("settings", {})}}
    settings = {"policy": policy, "simulation": simulation, "warm_start": {"steps": 0}}
    path.write_text(yaml.safe_dump(settings | experiment))
    stage.main([f"--config={path}", f"--results={folder / 'results'}", "--dataset=unused"])
    return folder / "results" / "warm_start" / "policy"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_xvla(tmp_path_factory.mktemp("checkpoint"))


def test_a_checkpoint_taken_as_it_is_gets_the_settings(stage, checkpoint, tmp_path):
    policy = taken(stage, tmp_path, checkpoint, settings={"num_denoising_steps": 3})
    assert json.loads((policy / "config.json").read_text())["num_denoising_steps"] == 3
    assert json.loads((checkpoint / "config.json").read_text())["num_denoising_steps"] == 4


def test_a_checkpoint_of_another_type_is_refused(stage, checkpoint, tmp_path):
    with pytest.raises(SystemExit, match=r"policy\.settings\.type: smolvla, .* of type xvla"):
        taken(stage, tmp_path, checkpoint, settings={"type": "smolvla"})


def test_a_checkpoint_that_the_simulator_does_not_suit_is_refused(stage, checkpoint, tmp_path):
    with pytest.raises(SystemExit, match=r"policy\.settings\.n_action_steps: the policy executes 2 steps"):
        taken(stage, tmp_path, checkpoint, settings={"n_action_steps": 2})


def test_a_policy_is_a_folder_or_the_hubs(stage, tmp_path, monkeypatch):
    assert stage.locate(str(tmp_path)) == tmp_path
    monkeypatch.setattr(stage, "snapshot_download", lambda name: f"/cache/{name}")
    assert stage.locate("me/policy") == Path("/cache/me/policy")


def test_a_policy_that_is_nowhere_is_named(stage, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"policy\.path: no such/policy/at all is no folder"):
        stage.locate("no such/policy/at all")
