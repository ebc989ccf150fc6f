"""Checkpoints of an online run in LeRobot's layout, written atomically.

<output_dir>/checkpoints/<env_steps>/{pretrained_model,training_state,algorithm}
<output_dir>/checkpoints/last -> <env_steps>
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import draccus
from lerobot.common.train_utils import get_step_identifier, load_training_state, save_checkpoint
from lerobot.configs.train import TRAIN_CONFIG_NAME
from lerobot.utils.constants import (
    CHECKPOINTS_DIR,
    LAST_CHECKPOINT_LINK,
    PRETRAINED_MODEL_DIR,
    TRAINING_STATE_DIR,
    TRAINING_STEP,
)
from lerobot.utils.io_utils import load_json, write_json
from safetensors.torch import load_file

from pirl.algorithms.sharding import whole_state
from pirl.runtime.agent import Agent
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig, latest_checkpoint
from pirl.runtime.ingest import IntakeCounters

ALGORITHM_DIR = "algorithm"
# Settings of any run that its tensors and its data depend on; algorithms add their own `fixed_on_resume`.
FIXED_ON_RESUME = (
    "algorithm.type",
    "peft",
    "env.task",
    "env.control_mode",
    "env.camera_name",
    "env.observation_height",
    "env.observation_width",
    "rollout.task_ids",
    "rollout.chunk_size",
)


def save_run(
    config: OnlineTrainConfig,
    agent: Agent,
    counters: IntakeCounters,
    updates: int,
    success_rate: float | None = None,
) -> Path:
    """Write a checkpoint named by the environment steps so far; a crash leaves the previous one valid.

    With a sharded policy the learner's other processes call `help_to_save` meanwhile.

    Args:
        config: the run; `budget.keep_last` and `budget.keep_best` say which earlier checkpoints stay.
        agent: what is saved.
        counters: what has arrived so far.
        updates: how many updates were done.
        success_rate: latest rollout success, by which the best are kept.

    Returns:
        The checkpoint folder.
    """
    root = Path(config.output_dir) / CHECKPOINTS_DIR
    root.mkdir(parents=True, exist_ok=True)
    name = get_step_identifier(counters.env_steps, config.budget.env_steps)
    partial, final = root / f".{name}.partial", root / name
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(
        checkpoint_dir=partial,
        step=agent.algorithm.optimization_step,
        cfg=config,
        policy=agent.policy,
        optimizer=agent.algorithm.get_optimizers(),
        preprocessor=agent.processing.preprocessor,
        postprocessor=agent.processing.postprocessor,
        model_state_dict=whole_state(agent.policy),
    )
    agent.algorithm.save_pretrained(partial / ALGORITHM_DIR)
    write_json(
        {
            "step": agent.algorithm.optimization_step,
            "interaction_step": counters.env_steps,
            "updates": updates,
            "policy_version": getattr(agent.algorithm, "policy_version", 0),
            "counters": asdict(counters),
            "success_rate": success_rate,
        },
        partial / TRAINING_STATE_DIR / TRAINING_STEP,
    )
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    link = root / f".{LAST_CHECKPOINT_LINK}.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(final.name)
    os.replace(link, root / LAST_CHECKPOINT_LINK)
    if config.budget.keep_last is not None:
        _prune(root, config.budget.keep_last, config.budget.keep_best)
    return final


def help_to_save(agent: Agent) -> None:
    """A following process's part of `save_run`: the same tensors, put together in the same order."""
    whole_state(agent.policy)
    for optimizer in agent.algorithm.get_optimizers().values():
        optimizer.state_dict()


def _prune(root: Path, keep_last: int, keep_best: int) -> None:
    """Remove checkpoints that are neither among the newest nor among the best."""
    folders = sorted(folder for folder in root.glob("[0-9]*") if folder.is_dir())
    rates = {
        folder: load_json(folder / TRAINING_STATE_DIR / TRAINING_STEP).get("success_rate") or 0.0
        for folder in folders
    }
    # The latest among equals, as the select stage takes it.
    best = sorted(folders, key=lambda folder: (rates[folder], folder), reverse=True)[:keep_best]
    for folder in set(folders) - set(folders[-keep_last:]) - set(best):
        shutil.rmtree(folder)


def restore_run(config: OnlineTrainConfig, agent: Agent) -> tuple[IntakeCounters, int]:
    """Restore optimizers, algorithm tensors, random state and counters from the last checkpoint.

    The policy's weights are loaded by `build_agent`, because a resumed `config.policy` points at the
    checkpoint.

    Returns:
        The counters and the number of updates at the checkpoint; zeros when there is none.

    Raises:
        ConfigError: when the checkpoint's tensors do not fit this configuration; names the keys.
    """
    checkpoint = latest_checkpoint(Path(config.output_dir))
    if checkpoint is None:
        return IntakeCounters(), 0
    _refuse_other_settings(config, checkpoint)
    load_training_state(checkpoint, agent.algorithm.get_optimizers(), None)
    tensors = load_file(checkpoint / ALGORITHM_DIR / "model.safetensors")
    agent.algorithm.load_state_dict(tensors, device=config.policy.device)
    state = load_json(checkpoint / TRAINING_STATE_DIR / TRAINING_STEP)
    agent.algorithm.optimization_step = state["step"]
    if hasattr(agent.algorithm, "policy_version"):
        agent.algorithm.policy_version = state["policy_version"]
    return IntakeCounters(**state["counters"]), state["updates"]


def _refuse_other_settings(config: OnlineTrainConfig, checkpoint: Path) -> None:
    """Compare the settings that a run's tensors and data depend on with those it was begun with."""
    written = load_json(checkpoint / PRETRAINED_MODEL_DIR / TRAIN_CONFIG_NAME)
    present = draccus.encode(config)
    keys = [
        *FIXED_ON_RESUME,
        *(f"algorithm.{name}" for name in getattr(config.algorithm, "fixed_on_resume", ())),
    ]
    differing = [
        f"{key} ({_value(written, key)} there, {_value(present, key)} here)"
        for key in keys
        if _value(written, key) != _value(present, key)
    ]
    if differing:
        raise ConfigError(
            f"resume: {checkpoint} was written with other settings: {', '.join(differing)}; "
            "put them back, or begin a new run in another output_dir"
        )


def _value(settings: dict[str, Any], key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
