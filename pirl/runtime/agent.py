"""Builds what actor and learner share: the policy, its processing and the algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.policies import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.rl.algorithms.base import RLAlgorithm
from peft import PeftModel

from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.pi_rl.algorithm import PiRLAlgorithm
from pirl.policies.adapters import bare, load_policy
from pirl.policies.fit import check_fit
from pirl.policies.processing import PolicyProcessing
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig


@dataclass
class Agent:
    """A policy with its pipelines and the algorithm that acts with and trains it.

    With an adapter, `policy` is what PEFT saves and the algorithm's policy is the one inside.
    """

    policy: PreTrainedPolicy | PeftModel
    processing: PolicyProcessing
    algorithm: RLAlgorithm


def build_agent(config: OnlineTrainConfig) -> Agent:
    """Load the policy from `policy.path`, or create it afresh, and put the algorithm around it.

    A fresh policy (SAC's `gaussian_actor`) takes its normalisation from the demonstrations' statistics.

    Raises:
        ConfigError: when the policy does not fit the simulator or the algorithm.
    """
    path = config.policy.pretrained_path
    policy, processing = _fresh(config) if path is None else _pretrained(config, path)
    policy.to(config.policy.device)
    try:
        algorithm = make_algorithm(config.algorithm, bare(policy))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"algorithm.type={config.algorithm.type}, policy.type={config.policy.type}: {error}"
        ) from error
    if isinstance(algorithm, PiRLAlgorithm):
        if algorithm.config.advantage == "action_value" and config.env.control_mode != "absolute":
            raise ConfigError(
                "algorithm.advantage: action_value needs env.control_mode=absolute, for a relative step ends "
                "where the controller leaves it; use gae"
            )
        algorithm.commands = lambda actions: torch.from_numpy(processing.decode(actions))
    return Agent(policy, processing, algorithm)


def _fresh(config: OnlineTrainConfig) -> tuple[PreTrainedPolicy, PolicyProcessing]:
    processing = PolicyProcessing(config.policy, config.env, dataset_stats=_statistics(config))
    return get_policy_class(config.policy.type)(config.policy), processing


def _pretrained(
    config: OnlineTrainConfig, path: str | Path
) -> tuple[PreTrainedPolicy | PeftModel, PolicyProcessing]:
    processing = PolicyProcessing(config.policy, config.env, pretrained_path=path)
    try:
        check_fit(config.policy, processing, config.env, config.rollout.chunk_size)
        return load_policy(config.policy, path, config.peft), processing
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _statistics(config: OnlineTrainConfig) -> dict | None:
    if config.demonstrations is None:
        return None
    if not (config.demonstrations / "meta" / "info.json").is_file():
        raise ConfigError(
            f"demonstrations: {config.demonstrations} holds no LeRobotDataset (meta/info.json is missing); "
            "run pirl-demos first"
        )
    return LeRobotDatasetMetadata(config.demonstrations.name, root=config.demonstrations).stats
