"""Checkpoints of an online run in LeRobot's layout, written atomically.

<output_dir>/checkpoints/<env_steps>/{pretrained_model,training_state,algorithm}
<output_dir>/checkpoints/last -> <env_steps>
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path

from lerobot.common.train_utils import get_step_identifier, load_training_state, save_checkpoint
from lerobot.utils.constants import (
    CHECKPOINTS_DIR,
    LAST_CHECKPOINT_LINK,
    TRAINING_STATE_DIR,
    TRAINING_STEP,
)
from lerobot.utils.io_utils import load_json, write_json
from safetensors.torch import load_file

from pirl.runtime.agent import Agent
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig, latest_checkpoint
from pirl.runtime.ingest import IntakeCounters

ALGORITHM_DIR = "algorithm"


def save_run(config: OnlineTrainConfig, agent: Agent, counters: IntakeCounters, updates: int) -> Path:
    """Write a checkpoint named by the environment steps so far; a crash leaves the previous one valid.

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
    )
    agent.algorithm.save_pretrained(partial / ALGORITHM_DIR)
    write_json(
        {
            "step": agent.algorithm.optimization_step,
            "interaction_step": counters.env_steps,
            "updates": updates,
            "policy_version": getattr(agent.algorithm, "policy_version", 0),
            "counters": asdict(counters),
        },
        partial / TRAINING_STATE_DIR / TRAINING_STEP,
    )
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    link = root / f".{LAST_CHECKPOINT_LINK}.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(final.name)
    os.replace(link, root / LAST_CHECKPOINT_LINK)
    return final


def restore_run(config: OnlineTrainConfig, agent: Agent) -> tuple[IntakeCounters, int]:
    """Restore optimizers, algorithm tensors, random state and counters from the last checkpoint.

    The policy's weights are loaded by `build_agent`, because a resumed `config.policy` points at the
    checkpoint.

    Returns:
        The counters and the number of updates at the checkpoint; zeros when there is none.

    Raises:
        ConfigError: when the checkpoint was written by another algorithm.
    """
    checkpoint = latest_checkpoint(Path(config.output_dir))
    if checkpoint is None:
        return IntakeCounters(), 0
    written_by = load_json(checkpoint / ALGORITHM_DIR / "config.json")["type"]
    if written_by != config.algorithm.type:
        raise ConfigError(
            f"algorithm.type: {checkpoint} was written by {written_by!r}, this run is "
            f"{config.algorithm.type!r}; use another output_dir, or resume=false with an empty one"
        )
    load_training_state(checkpoint, agent.algorithm.get_optimizers(), None)
    tensors = load_file(checkpoint / ALGORITHM_DIR / "model.safetensors")
    agent.algorithm.load_state_dict(tensors, device=config.policy.device)
    state = load_json(checkpoint / TRAINING_STATE_DIR / TRAINING_STEP)
    agent.algorithm.optimization_step = state["step"]
    if hasattr(agent.algorithm, "policy_version"):
        agent.algorithm.policy_version = state["policy_version"]
    return IntakeCounters(**state["counters"]), state["updates"]
