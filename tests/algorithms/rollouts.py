"""Whole episodes of a policy on random observations, sent and stored as the runtime does it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer
from lerobot.transport.utils import bytes_to_transitions, transitions_to_bytes
from torch import Tensor

from pirl.algorithms.acting import SCENE_STATE
from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.envs.scene_state import SCENE_DIM
from tests.policies.tiny import make_observation


def record_episodes(
    algorithm,
    episodes: int = 4,
    decisions: int = 3,
    seed: int = 0,
    actor_id: int = 0,
    observe: Callable[[int], dict[str, Tensor]] | None = None,
) -> list[dict]:
    """Transitions of complete episodes in order; every other one succeeds, after half of its last chunk."""
    observe = observe or (lambda seed: make_observation(algorithm.policy, 1, seed))
    transitions = []
    for episode in range(episodes):
        observations = [observe(seed + 100 * episode + i) for i in range(decisions + 1)]
        for index in range(decisions):
            last, success = index == decisions - 1, episode % 2 == 0
            decision = algorithm.act(observations[index])
            numbers = {
                "policy_version": algorithm.policy_version,
                "executed_steps": algorithm.chunk_size // 2 if last and success else algorithm.chunk_size,
                "episode_id": episode,
                "decision_index": index,
                "actor_id": actor_id,
            }
            scene = {SCENE_STATE: torch.rand(1, SCENE_DIM)} if algorithm.needs_scene_state else {}
            info: dict[str, Tensor] = (
                decision.complementary_info
                | scene
                | {key: torch.tensor([float(value)]) for key, value in numbers.items()}
            )
            transitions.append(
                {
                    "state": observations[index],
                    "action": decision.action.reshape(1, -1),
                    "reward": float(last and success),
                    "next_state": observations[index + 1],
                    "done": last and success,
                    "truncated": last and not success,
                    "complementary_info": info,
                }
            )
    return transitions


def store(transitions: list[dict], buffer: ReplayBuffer | None = None) -> ReplayBuffer:
    """Through LeRobot's serialisation into its replay buffer, which keeps everything as float32."""
    buffer = ReplayBuffer(64, device="cpu", use_drq=False) if buffer is None else buffer
    for transition in bytes_to_transitions(transitions_to_bytes(transitions)):
        buffer.add(**transition)
    return buffer


def commands(actions: Tensor) -> Tensor:
    """A stand-in for a policy's postprocessor, [B, H, D] -> [B, STEPS, 7]."""
    return torch.nn.functional.pad(actions.float(), (0, 7))[..., :7]


def batch_of(algorithm) -> UpdateBatch:
    """Recorded episodes as the learner prepares them for an update."""
    buffer = store(record_episodes(algorithm))
    assert algorithm.rollout_ready(buffer)
    iterator = algorithm.configure_data_iterator(OnlineOfflineMixer(buffer), 8)
    return UpdateBatch(next(iterator), algorithm.stochastic, algorithm.config)
