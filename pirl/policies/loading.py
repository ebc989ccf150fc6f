"""Loads a policy's weights, and makes sure of it."""

from __future__ import annotations

from pathlib import Path

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from safetensors import safe_open

from pirl.policies.pickled import WEIGHTS

# Tensors up to this size are compared with the file: all biases and norms, and the small projections.
COMPARED_ENTRIES = 100_000


class WeightsNotLoaded(ValueError):
    """A policy does not hold the weights of its checkpoint; the message names the first one."""


def load_pretrained(config: PreTrainedConfig, path: str | Path) -> PreTrainedPolicy:
    """LeRobot's `from_pretrained`, which for pi0 and pi0.5 only prints a line when weights do not fit.

    Args:
        config: the policy's configuration; may differ from the checkpoint's where no tensor depends on it.
        path: a policy folder, or a hub id (which is not compared).

    Raises:
        WeightsNotLoaded: when the policy was left with random weights.
    """
    policy = get_policy_class(config.type).from_pretrained(str(path), config=config)
    file = Path(path) / WEIGHTS
    if file.is_file():
        _compare(policy, file)
    return policy


def _compare(policy: PreTrainedPolicy, file: Path) -> None:
    loaded = policy.state_dict()
    with safe_open(file, "pt") as stored:
        for name in stored.keys():  # noqa: SIM118  (no mapping)
            own = loaded.get(name, loaded.get(f"model.{name}"))
            if own is None or own.numel() > COMPARED_ENTRIES:
                continue
            tensor = stored.get_tensor(name)
            if tensor.shape != own.shape or not torch.equal(tensor.to(own.dtype), own.cpu()):
                raise WeightsNotLoaded(
                    f"{file}: the policy does not hold {name} {tuple(tensor.shape)} after loading; does the "
                    "checkpoint fit its config.json and the overrides in policy.settings and train.policy?"
                )
