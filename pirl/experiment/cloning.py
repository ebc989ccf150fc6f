"""Cloning with stock `lerobot-train`: an experiment's section as its command line."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pirl.allocation import KEEP_BUFFERS
from pirl.experiment.recipes import WARM_START, policy_type
from pirl.policies.export import folder_for_training
from pirl.policies.tokenizer import TOKENIZER_DIR


def policy_settings(experiment: dict[str, Any]) -> dict[str, str]:
    """`policy.settings` as values of LeRobot's command line, without the type: a checkpoint knows it."""
    settings = {key: value for key, value in experiment["policy"]["settings"].items() if key != "type"}
    if settings.get("tokenizer_name") == "builtin":
        settings["tokenizer_name"] = str(TOKENIZER_DIR)
    return {key: _flag_value(value) for key, value in settings.items()}


def policy_flags(experiment: dict[str, Any]) -> list[str]:
    """The `--policy.*` flags of lerobot-train."""
    path = experiment["policy"]["path"]
    origin = f"--policy.path={path}" if path else f"--policy.type={policy_type(experiment)}"
    flags = [f"--policy.{key}={value}" for key, value in policy_settings(experiment).items()]
    return [origin, "--policy.push_to_hub=false", *flags]


def _flag_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def train_command(
    experiment: dict[str, Any], dataset: Path, output_dir: Path, section: str = WARM_START
) -> list[str]:
    """The stock `lerobot-train` command line with the steps, batch size and settings of a section."""
    training = experiment[section]
    return [
        *(sys.executable, "-m", "pirl.stock", "lerobot-train"),
        f"--dataset.repo_id={dataset.name}",
        f"--dataset.root={dataset}",
        f"--output_dir={output_dir}",
        f"--job_name={section}",
        f"--steps={training['steps']}",
        f"--batch_size={training['batch_size']}",
        f"--seed={experiment['seed']}",
        f"--save_freq={training['steps']}",
        f"--log_freq={max(1, training['steps'] // 20)}",
        "--num_workers=1",
        "--env_eval_freq=0",
        "--wandb.enable=false",
        *(f"--{key}={_flag_value(value)}" for key, value in training["settings"].items()),
        *policy_flags(experiment),
    ]


def clone(experiment: dict[str, Any], dataset: Path, work_dir: Path, section: str = WARM_START) -> Path:
    """Train with `lerobot-train` and return the folder of the last checkpoint's policy.

    Raises:
        RuntimeError: when lerobot-train fails.
    """
    if not (dataset / "meta" / "info.json").is_file():
        raise FileNotFoundError(
            f"--dataset: {dataset} holds no LeRobotDataset; run the stage that makes it first"
        )
    shutil.rmtree(work_dir, ignore_errors=True)
    work_dir.parent.mkdir(parents=True, exist_ok=True)
    origin = experiment["policy"]["path"]
    if origin is not None and Path(origin).is_dir():
        folder = folder_for_training(Path(origin), work_dir.with_name(f"{section}_origin"))
        experiment = {**experiment, "policy": {**experiment["policy"], "path": str(folder)}}
    command = train_command(experiment, dataset, work_dir, section)
    logging.info("%s", " ".join(command))
    environment = KEEP_BUFFERS | os.environ
    if precision := experiment[section]["mixed_precision"]:
        environment["ACCELERATE_MIXED_PRECISION"] = precision
    if (dropout := experiment[section]["dropout"]) is not None:
        environment["PIRL_DROPOUT"] = str(dropout)
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise RuntimeError("lerobot-train failed; its own messages stand above")
    return work_dir / "checkpoints" / "last" / "pretrained_model"
