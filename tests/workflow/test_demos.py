"""The demos stage turns an experiment into the same call that `pirl-demos` makes."""

import importlib.util
from pathlib import Path

import pytest

from pirl.experiment.config import load_experiment

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "demos.py"


@pytest.fixture(scope="module")
def demos():
    spec = importlib.util.spec_from_file_location("demos_stage", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_follow_the_experiment(demos, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "suite: libero_goal\ntask_ids: [1, 7]\nsimulation: {height: 48, cameras: [agentview]}\n"
        "demos: {episodes_per_task: 3, action_noise: 0.1, starts: wide, seed_base: 77}\n"
    )
    config = demos.demos_config(load_experiment(path), tmp_path / "libero")
    recording = config.recording()
    assert (recording.suite, recording.task_ids, recording.episodes) == ("libero_goal", (1, 7), 3)
    assert (recording.starts, recording.seed, recording.action_noise) == ("wide", 77, 0.1)
    assert (recording.height, recording.cameras, recording.fidelity) == (48, ("agentview",), "fast")


def test_absolute_control_is_refused_in_one_line(demos, tmp_path, monkeypatch):
    path = tmp_path / "run.yaml"
    path.write_text("simulation: {control_mode: absolute}\n")
    arguments = [
        "demos.py",
        "--config",
        str(path),
        "--output",
        str(tmp_path),
        "--results",
        str(tmp_path / "r"),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match=r"simulation\.control_mode: the scripted expert acts in relative"):
        demos.main()
