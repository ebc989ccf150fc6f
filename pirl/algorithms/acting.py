"""What an actor asks of any recipe: one exploratory decision per chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from lerobot.rl.algorithms.base import RLAlgorithm
from lerobot.utils.constants import ACTION
from torch import Tensor

# LIBERO's own action: position 3, rotation 3, gripper 1.
LIBERO_ACTION_DIM = 7
# Name under which a transition carries the simulator's own view of the scene.
SCENE_STATE = "scene_state"


@dataclass
class Decision:
    """One action chunk per observation, and what must travel with it."""

    action: Tensor  # [B, H, D] in policy space: what the policy's own postprocessor takes next
    complementary_info: dict[str, Tensor]  # [B, ...] float32


class ActionSampler(Protocol):
    """Draws exploratory decisions."""

    chunk_size: int  # H, executed steps per decision
    needs_scene_state: bool  # whether the simulator's own view travels with its decisions

    def act(
        self, observation: dict[str, Tensor], scenes: Tensor | None = None, chances: Tensor | None = None
    ) -> Decision:
        """Decide for B preprocessed observations; no gradients.

        Args:
            observation: preprocessed policy inputs, [B, ...].
            scenes: the simulator's own view of each, [B, S], where `needs_scene_state`.
            chances: a number in [0, 1) per episode, [B], for what concerns a share of the episodes.
        """
        ...


def make_action_sampler(algorithm: RLAlgorithm) -> ActionSampler:
    """The sampler of a recipe: PI-RL acts itself, LeRobot's SAC through its `gaussian_actor`.

    Raises:
        ValueError: when the algorithm has no sampler, or SAC's action is no whole number of LIBERO actions.
    """
    if algorithm.name == "pi_rl":
        return algorithm  # type: ignore[return-value]
    if algorithm.name == "sac":
        return GaussianActorSampler(algorithm)
    raise ValueError(f"algorithm.type: no action sampler for {algorithm.name!r}; use pi_rl or sac")


class GaussianActorSampler:
    """SAC's squashed Gaussian, whose action vector is a flattened chunk of H steps of D dims."""

    needs_scene_state = False

    def __init__(self, algorithm: RLAlgorithm, step_dims: int = LIBERO_ACTION_DIM) -> None:
        config = algorithm.policy.config
        dims = int(config.output_features[ACTION].shape[0])
        if config.num_discrete_actions is not None:
            raise ValueError(
                "policy.num_discrete_actions: a discrete gripper head cannot act in chunks; use null and "
                f"{step_dims} continuous dims per step"
            )
        if dims % step_dims:
            raise ValueError(
                f"policy.output_features.action: {dims} dims are no whole number of {step_dims}-dim actions; "
                f"use H * {step_dims}"
            )
        self._policy = algorithm.policy
        self._step_dims = step_dims
        self.chunk_size = dims // step_dims

    @torch.no_grad()
    def act(
        self, observation: dict[str, Tensor], scenes: Tensor | None = None, chances: Tensor | None = None
    ) -> Decision:
        """Sample from the squashed Gaussian, as LeRobot's own actor does."""
        flat = self._policy.select_action(observation)
        return Decision(flat.reshape(len(flat), self.chunk_size, self._step_dims), {})
