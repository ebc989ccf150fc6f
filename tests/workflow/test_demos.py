"""The demos stage turns an experiment into the same call that `pirl-demos` makes."""

import pytest

from pirl.experiment.config import load_experiment


@pytest.fixture(scope="module")
def demos(load_stage):
    return load_stage("demos")


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
