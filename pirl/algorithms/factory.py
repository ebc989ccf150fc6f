"""Builds algorithms by their registered type."""

from __future__ import annotations

from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.rl.algorithms.base import RLAlgorithm
from lerobot.rl.algorithms.configs import RLAlgorithmConfig
from lerobot.rl.algorithms.factory import get_algorithm_class as get_lerobot_class

from pirl.algorithms.pi_rl.algorithm import PiRLAlgorithm


def get_algorithm_class(name: str) -> type[RLAlgorithm]:
    """`pi_rl` from here, every other name from LeRobot.

    Raises:
        ValueError: when neither knows the name.
    """
    return PiRLAlgorithm if name == PiRLAlgorithm.name else get_lerobot_class(name)


def make_algorithm(cfg: RLAlgorithmConfig, policy: PreTrainedPolicy) -> RLAlgorithm:
    """Put an algorithm around a policy.

    Args:
        cfg: its settings; `policy_config` is taken from the policy when missing.
        policy: the policy it trains.

    Raises:
        ValueError: when the type is unknown, or the policy does not fit it.
    """
    if cfg.policy_config is None:
        cfg.policy_config = policy.config
    return get_algorithm_class(cfg.type)(policy=policy, config=cfg)
