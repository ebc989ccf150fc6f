"""Finds the adapter of a policy by its type."""

from __future__ import annotations

import importlib

from lerobot.policies.pretrained import PreTrainedPolicy

from pirl.policies.flow_policy import FlowPolicy

# policy type -> (module, class); imported on demand, because each pulls in its own model code.
ADAPTERS = {
    "xvla": ("pirl.policies.xvla", "XVLAFlow"),
    "smolvla": ("pirl.policies.smolvla", "SmolVLAFlow"),
    "pi0": ("pirl.policies.pi0", "PI0Flow"),
    "pi05": ("pirl.policies.pi0", "PI05Flow"),
}


def make_flow_policy(policy: PreTrainedPolicy, executed_dims: int | None = None) -> FlowPolicy:
    """Wrap a LeRobot policy for PI-RL.

    Args:
        policy: any LeRobot policy.
        executed_dims: leading action dims the environment executes; None takes the policy's action feature.

    Raises:
        ValueError: when the policy is not a flow policy, or its settings cannot be trained.
    """
    policy_type = policy.config.type
    if policy_type not in ADAPTERS:
        raise ValueError(
            f"policy.type: {policy_type!r} is not a flow policy, so it has no denoising chain to train; "
            f"pi_rl takes one of {', '.join(sorted(ADAPTERS))}, or choose algorithm.type=sac"
        )
    module, name = ADAPTERS[policy_type]
    return getattr(importlib.import_module(module), name)(policy, executed_dims)
