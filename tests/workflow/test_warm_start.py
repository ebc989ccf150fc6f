"""The command line that the warm start gives to stock lerobot-train."""

from pathlib import Path

import pytest
import yaml

from pirl.experiment.config import load_experiment


@pytest.fixture(scope="module")
def stage(load_stage):
    return load_stage("warm_start")


def command(stage, tmp_path: Path, **warm_start) -> list[str]:
    path = tmp_path / "tiny.yaml"
    settings = {
        "type": "xvla",
        "tokenizer_name": "builtin",
        "hidden_size": 32,
        "freeze_vision_encoder": False,
    }
    path.write_text(yaml.safe_dump({"policy": {"settings": settings}, "warm_start": warm_start, "seed": 3}))
    return stage.train_command(load_experiment(path), Path("data/demos/tiny/xvla"), tmp_path / "out")


def test_the_experiment_becomes_flags_of_lerobot_train(stage, tmp_path):
    words = command(stage, tmp_path, steps=7, batch_size=5)
    assert words[0].endswith("lerobot-train")
    assert {"--steps=7", "--batch_size=5", "--seed=3", "--policy.hidden_size=32"} <= set(words)
    assert "--policy.freeze_vision_encoder=false" in words
    (tokenizer,) = [word for word in words if word.startswith("--policy.tokenizer_name=")]
    assert (Path(tokenizer.split("=")[1]) / "tokenizer.json").is_file()


def test_any_setting_of_lerobot_train_can_be_given(stage, tmp_path):
    settings = {"use_policy_training_preset": False, "optimizer.type": "adamw", "optimizer.lr": 1e-3}
    words = command(stage, tmp_path, settings=settings)
    assert {"--use_policy_training_preset=false", "--optimizer.type=adamw", "--optimizer.lr=0.001"} <= set(
        words
    )


def test_a_policy_is_a_folder_or_the_hubs(stage, tmp_path, monkeypatch):
    assert stage.locate(str(tmp_path)) == tmp_path
    monkeypatch.setattr(stage, "snapshot_download", lambda name: f"/cache/{name}")
    assert stage.locate("me/policy") == Path("/cache/me/policy")


def test_a_policy_that_is_nowhere_is_named(stage, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"policy\.path: no such/policy/at all is no folder"):
        stage.locate("no such/policy/at all")
