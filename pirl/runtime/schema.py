"""What a run's transitions look like, found by letting the learner's own agent make one decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lerobot.utils.transition import Transition
from torch import Tensor

from pirl.algorithms.acting import SCENE_STATE, make_action_sampler
from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.scene_state import SCENE_DIM
from pirl.envs.tasks import get_task
from pirl.runtime.agent import Agent
from pirl.runtime.configuration import OnlineTrainConfig
from pirl.runtime.messages import MessageError

Shape = tuple[int, ...]
# What the collector adds to an algorithm's own values, one number each.
NUMBERS = ("policy_version", "episode_id", "decision_index", "actor_id", "executed_steps")


@dataclass(frozen=True)
class TransitionSchema:
    """Shapes of one decision, and the longest episode in decisions."""

    state: dict[str, Shape]
    action: Shape
    complementary_info: dict[str, Shape]
    chunk_size: int
    max_decisions: int

    def check(self, transitions: list[Transition]) -> None:
        """Compare one message with the run.

        Raises:
            MessageError: naming the first fault.
        """
        if len(transitions) > self.max_decisions:
            raise MessageError(f"{len(transitions)} transitions; an episode has at most {self.max_decisions}")
        for index, transition in enumerate(transitions):
            _compare(f"transition {index}: state", self.state, transition["state"])
            _compare(f"transition {index}: next_state", self.state, transition["next_state"])
            info = transition["complementary_info"] or {}
            _compare(f"transition {index}: complementary_info", self.complementary_info, info)
            _compare(f"transition {index}", {"action": self.action}, {"action": transition["action"]})
            executed = float(info["executed_steps"])
            if not (executed.is_integer() and 1 <= executed <= self.chunk_size):
                raise MessageError(
                    f"transition {index}: executed_steps {executed} is not 1 to {self.chunk_size}"
                )
            if float(info["decision_index"]) != index:
                raise MessageError(f"transition {index}: decision_index is {float(info['decision_index'])}")
            ends = bool(transition["done"]) or bool(transition["truncated"])
            if ends != (index == len(transitions) - 1):
                raise MessageError(
                    f"transition {index}: an episode ends at its last decision and nowhere else"
                )


def transition_schema(config: OnlineTrainConfig, agent: Agent) -> TransitionSchema:
    """The run's schema; changes no weights and leaves torch's random state as it was."""
    task = (config.env.task, config.rollout.task_ids[0])
    environment = LiberoChunkEnv(
        [task],
        chunk_size=config.rollout.chunk_size,
        height=config.env.observation_height,
        width=config.env.observation_width,
        cameras=config.cameras,
    )
    environment.observation_space.seed(0)
    instruction = get_task(*task).language
    state = agent.processing.encode([environment.observation_space.sample()], [instruction])
    sampler = make_action_sampler(agent.algorithm)
    with torch.random.fork_rng():
        decision = sampler.act(state)
    info = _shapes(decision.complementary_info) | dict.fromkeys(NUMBERS, (1,))
    if sampler.needs_scene_state:
        info[SCENE_STATE] = (1, SCENE_DIM)
    max_steps = config.rollout.max_steps or max(
        get_task(task[0], i).max_steps for i in config.rollout.task_ids
    )
    return TransitionSchema(
        state=_shapes(state),
        action=(1, decision.action.numel()),
        complementary_info=info,
        chunk_size=config.rollout.chunk_size,
        max_decisions=-(-max_steps // config.rollout.chunk_size),
    )


def _shapes(tensors: dict[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _compare(where: str, expected: dict[str, Shape], tensors: dict[str, Any]) -> None:
    if tensors.keys() != expected.keys():
        differing = sorted(tensors.keys() ^ expected.keys())[0]
        fault = "lacks" if differing in expected else "holds an unknown"
        raise MessageError(f"{where} {fault} {differing!r}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise MessageError(f"{where}[{name!r}] has shape {tuple(tensors[name].shape)}, expected {shape}")
