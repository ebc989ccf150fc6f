"""What is learned from: rollouts, and demonstrations as chunked transitions, in LeRobot's `ReplayBuffer`."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from lerobot.datasets import LeRobotDataset
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer
from lerobot.utils.constants import ACTION
from torch import Tensor

from pirl.policies.processing import PolicyProcessing
from pirl.runtime.agent import Agent
from pirl.runtime.configuration import OnlineTrainConfig


def make_mixer(config: OnlineTrainConfig, agent: Agent) -> OnlineOfflineMixer:
    """An empty buffer for rollouts, with the demonstrations where the run uses them."""
    online = ReplayBuffer(
        capacity=config.buffer.online_capacity,
        device=config.policy.device,
        state_keys=list(config.policy.input_features),
        use_drq=False,
    )
    offline = None
    if config.demonstrations is not None and config.online_ratio < 1.0:
        offline = load_demonstrations(
            config.demonstrations, agent.processing, config.rollout.chunk_size, config.policy.device
        )
        logging.info("[LEARNER] %d demonstrated transitions at hand", len(offline))
    return OnlineOfflineMixer(online, offline, config.online_ratio)


def load_demonstrations(
    root: Path, processing: PolicyProcessing, chunk_size: int, device: str
) -> ReplayBuffer:
    """Cut every demonstration into chunks of `chunk_size` steps and store them as transitions.

    Each demonstration ends in success, so its last chunk carries reward 1 and `done`. A last chunk that is
    shorter than `chunk_size` repeats its final action: the environment stops at success, so the repeats
    are never executed.

    Args:
        root: a LeRobotDataset folder.
        processing: the policy's pipelines; the data set must be in the layout they expect.
        chunk_size: H, executed steps per decision.
        device: where sampled batches go.
    """
    dataset = LeRobotDataset(root.name, root=root)
    decisions = [
        transition
        for episode in range(dataset.num_episodes)
        for transition in _episode_transitions(dataset, episode, processing, chunk_size)
    ]
    buffer = ReplayBuffer(
        capacity=len(decisions), device=device, state_keys=list(decisions[0]["state"]), use_drq=False
    )
    for decision in decisions:
        buffer.add(**decision)
    return buffer


def _episode_transitions(
    dataset: LeRobotDataset, episode: int, processing: PolicyProcessing, chunk_size: int
) -> list[dict]:
    meta = dataset.meta.episodes[episode]
    frames = [dataset[index] for index in range(meta["dataset_from_index"], meta["dataset_to_index"])]
    length = len(frames)
    states = [processing.encode_frame(frame) for frame in frames]
    actions = torch.stack([frame[ACTION] for frame in frames])
    last_start = length - min(chunk_size, length)
    return [
        _chunk(states, actions, start, min(start + chunk_size, length), chunk_size)
        for start in range(last_start + 1)
    ]


def _chunk(states: list[dict[str, Tensor]], actions: Tensor, start: int, stop: int, chunk_size: int) -> dict:
    executed = actions[start:stop]
    padding = executed[-1:].expand(chunk_size - len(executed), -1)
    done = stop == len(states)
    return {
        "state": states[start],
        "action": torch.cat([executed, padding]).reshape(1, -1),
        "reward": float(done),
        "next_state": states[min(stop, len(states) - 1)],
        "done": done,
        "truncated": False,
    }
