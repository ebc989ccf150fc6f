"""The command line that cloning gives to stock lerobot-train."""

import sys
from pathlib import Path

import yaml

from pirl.experiment.cloning import policy_flags, train_command
from pirl.experiment.config import load_experiment


def command(tmp_path: Path, **warm_start) -> list[str]:
    path = tmp_path / "tiny.yaml"
    settings = {
        "type": "xvla",
        "tokenizer_name": "builtin",
        "hidden_size": 32,
        "freeze_vision_encoder": False,
    }
    path.write_text(yaml.safe_dump({"policy": {"settings": settings}, "warm_start": warm_start, "seed": 3}))
    return train_command(load_experiment(path), Path("data/demos/tiny/xvla"), tmp_path / "out")


def test_the_experiment_becomes_flags_of_lerobot_train(tmp_path):
    words = command(tmp_path, steps=7, batch_size=5)
    assert words[:4] == [sys.executable, "-m", "pirl.stock", "lerobot-train"]
    assert {"--steps=7", "--batch_size=5", "--seed=3", "--policy.hidden_size=32"} <= set(words)
    assert "--policy.freeze_vision_encoder=false" in words
    (tokenizer,) = [word for word in words if word.startswith("--policy.tokenizer_name=")]
    assert (Path(tokenizer.split("=")[1]) / "tokenizer.json").is_file()


def test_any_setting_of_lerobot_train_can_be_given(tmp_path):
    settings = {"use_policy_training_preset": False, "optimizer.type": "adamw", "optimizer.lr": 1e-3}
    words = command(tmp_path, settings=settings)
    assert {"--use_policy_training_preset=false", "--optimizer.type=adamw", "--optimizer.lr=0.001"} <= set(
        words
    )


def test_a_checkpoint_is_named_instead_of_a_type(tmp_path):
    path = tmp_path / "mine.yaml"
    settings = {"type": "smolvla", "n_action_steps": 5}
    path.write_text(yaml.safe_dump({"policy": {"path": "me/policy", "settings": settings}}))
    flags = policy_flags(load_experiment(path))
    assert {"--policy.path=me/policy", "--policy.n_action_steps=5"} <= set(flags)
    assert not [flag for flag in flags if flag.startswith("--policy.type")]
