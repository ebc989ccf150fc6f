"""Builds what actor and learner share: the policy, its processing and the algorithm."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.policies import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.rl.algorithms.base import RLAlgorithm

from pirl.algorithms.factory import make_algorithm
from pirl.policies.processing import PolicyProcessing
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig


@dataclass
class Agent:
    """A policy with its pipelines and the algorithm that acts with and trains it."""

    policy: PreTrainedPolicy
    processing: PolicyProcessing
    algorithm: RLAlgorithm


def build_agent(config: OnlineTrainConfig) -> Agent:
    """Load the policy from `policy.path`, or create it afresh, and put the algorithm around it.

    A fresh policy (SAC's `gaussian_actor`) takes its normalisation from the demonstrations' statistics.

    Raises:
        ConfigError: when the policy does not fit the algorithm.
    """
    policy_class = get_policy_class(config.policy.type)
    path = config.policy.pretrained_path
    if path is None:
        policy = policy_class(config.policy)
        processing = PolicyProcessing(config.policy, config.env, dataset_stats=_statistics(config))
    else:
        policy = policy_class.from_pretrained(str(path), config=config.policy)
        processing = PolicyProcessing(config.policy, config.env, pretrained_path=path)
    policy.to(config.policy.device)
    try:
        algorithm = make_algorithm(config.algorithm, policy)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"algorithm.type={config.algorithm.type}, policy.type={config.policy.type}: {error}"
        ) from error
    return Agent(policy, processing, algorithm)


def _statistics(config: OnlineTrainConfig) -> dict | None:
    if config.demonstrations is None:
        return None
    if not (config.demonstrations / "meta" / "info.json").is_file():
        raise ConfigError(
            f"demonstrations: {config.demonstrations} holds no LeRobotDataset (meta/info.json is missing); "
            "run pirl-demos first"
        )
    return LeRobotDatasetMetadata(config.demonstrations.name, root=config.demonstrations).stats
