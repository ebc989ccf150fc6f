"""Collects episodes: environment workers step whole chunks, one forward pass serves all that wait."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lerobot.utils.transition import Transition
from torch import Tensor

from pirl.algorithms.acting import SCENE_STATE, ActionSampler
from pirl.envs.starts import Start, StartKind
from pirl.envs.tasks import get_task
from pirl.envs.workers import EnvWorkers, WorkerResult
from pirl.policies.processing import PolicyProcessing

Task = tuple[str, int]
GOLDEN_RATIO = (1 + 5**0.5) / 2


@dataclass
class Episode:
    """One complete episode, in order, ready to be sent."""

    task: Task
    start: Start
    transitions: list[Transition]
    success: bool
    env_steps: int
    wall_s: float


@dataclass
class _Slot:
    """An environment worker and the episode it is in."""

    task: Task
    start: Start
    began: float
    observation: dict[str, Any] | None = None
    scene_state: np.ndarray | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    result: WorkerResult | None = None


def cycle_starts(
    tasks: list[Task], kind: StartKind, seed_base: int, actor_id: int, actors: int, repeats: int = 1
) -> Iterator[tuple[Task, Start]]:
    """Endless (task, start) pairs: tasks in turn, a fresh seed each; actors share out each pair's repeats."""
    for count in itertools.count():
        index = (count * actors + actor_id) // repeats
        yield tasks[index % len(tasks)], Start(kind=kind, seed=seed_base + index)


def chance(start: Start) -> float:
    """A number in [0, 1) for an episode; those of successive seeds lie evenly there, however few they are."""
    return start.seed * GOLDEN_RATIO % 1.0


class EpisodeCollector:
    """Runs a recipe's sampler in environment workers and yields complete episodes."""

    def __init__(
        self,
        sampler: ActionSampler,
        processing: PolicyProcessing,
        workers: EnvWorkers,
        starts: Iterator[tuple[Task, Start]],
        actor_id: int = 0,
        first_episode: int = 0,
    ) -> None:
        self._sampler = sampler
        self._processing = processing
        self._workers = workers
        self._starts = starts
        self._actor_id = actor_id
        self._episode_ids = itertools.count(first_episode)
        self.lost_episodes = 0
        self.inference_s = 0.0
        self.waiting_s = 0.0

    def collect(
        self, episodes: int, policy_version: int, should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Episode]:
        """Yield `episodes` complete episodes, all begun and ended under the sampler's present weights.

        A worker that dies costs its episode, which is begun anew elsewhere and counted in `lost_episodes`.

        Args:
            episodes: how many to collect.
            policy_version: recorded with every transition.
            should_stop: asked between steps; unfinished episodes are dropped when it turns true.
        """
        slots: dict[int, _Slot] = {}
        to_begin = episodes
        for worker in range(min(self._workers.num_workers, episodes)):
            slots[worker] = self._begin(worker)
            to_begin -= 1
        while slots and not should_stop():
            waited = time.perf_counter()
            results = self._workers.collect(timeout=1.0)
            self.waiting_s += time.perf_counter() - waited
            ready: list[int] = []
            for result in results:
                if result.worker not in slots:
                    continue
                if result.event == "lost":
                    self.lost_episodes += 1
                    logging.warning("[ACTOR] environment worker %d was lost: %s", result.worker, result.error)
                    slots[result.worker] = self._begin(result.worker)
                    continue
                slots[result.worker].observation = result.observation
                slots[result.worker].scene_state = result.info.get(SCENE_STATE)
                slots[result.worker].result = result if result.event == "step" else None
                ready.append(result.worker)
            if not ready:
                continue
            for episode, worker in self._advance(ready, slots, policy_version):
                yield episode
                del slots[worker]
                if to_begin > 0:
                    slots[worker] = self._begin(worker)
                    to_begin -= 1

    def _begin(self, worker: int) -> _Slot:
        task, start = next(self._starts)
        self._workers.reset(worker, task, start)
        return _Slot(task, start, time.perf_counter())

    def _advance(
        self, ready: list[int], slots: dict[int, _Slot], policy_version: int
    ) -> list[tuple[Episode, int]]:
        """Finish the decisions that ended, decide for those that go on; returns finished episodes."""
        began = time.perf_counter()
        active = [slots[worker] for worker in ready]
        states = self._processing.encode(
            [slot.observation or {} for slot in active], [get_task(*slot.task).language for slot in active]
        )
        finished: list[tuple[Episode, int]] = []
        deciding: list[int] = []
        for row, (worker, slot) in enumerate(zip(ready, active, strict=True)):
            # One tensor ends a decision and begins the next: a message holds it once.
            slot.state = {key: value[row : row + 1].cpu().clone() for key, value in states.items()}
            if slot.result is not None:
                _complete(slot.transitions[-1], slot.result, slot.state)
                if slot.result.terminated or slot.result.truncated:
                    finished.append((self._finish(slot), worker))
                    continue
            deciding.append(row)
        if deciding:
            rows = torch.tensor(deciding)
            inputs = {key: value[rows] for key, value in states.items()}
            chosen = [active[row] for row in deciding]
            chances = torch.tensor([chance(slot.start) for slot in chosen])
            decision = self._sampler.act(inputs, _scenes(chosen), chances)
            actions = self._processing.decode(decision.action)
            for position, (row, slot) in enumerate(zip(deciding, chosen, strict=True)):
                slot.transitions.append(
                    self._open(
                        slot,
                        decision.action[position : position + 1],
                        {k: v[position : position + 1] for k, v in decision.complementary_info.items()},
                        policy_version,
                    )
                )
                self._workers.step(ready[row], np.ascontiguousarray(actions[position]))
        self.inference_s += time.perf_counter() - began
        return finished

    def _open(
        self,
        slot: _Slot,
        action: Tensor,
        info: dict[str, Tensor],
        policy_version: int,
    ) -> Transition:
        """A transition whose outcome is not known yet."""
        numbers = {
            "policy_version": policy_version,
            "episode_id": -1,  # counted when the episode is complete, so that none is missing
            "decision_index": len(slot.transitions),
            "actor_id": self._actor_id,
            "executed_steps": 0,
        }
        complementary = {key: value.detach().to("cpu", torch.float32).clone() for key, value in info.items()}
        complementary |= {key: torch.tensor([float(value)]) for key, value in numbers.items()}
        if slot.scene_state is not None:
            complementary[SCENE_STATE] = torch.from_numpy(slot.scene_state)[None]
        return Transition(
            state=slot.state,
            action=action.detach().reshape(1, -1).to("cpu", torch.float32).clone(),
            reward=0.0,
            next_state={},
            done=False,
            truncated=False,
            complementary_info=complementary,
        )

    def _finish(self, slot: _Slot) -> Episode:
        """Number a complete episode; numbers leave no gap, so that the learner can tell what was lost."""
        result, number = slot.result, torch.tensor([float(next(self._episode_ids))])
        assert result is not None
        for transition in slot.transitions:
            info = transition["complementary_info"]
            assert info is not None
            info["episode_id"] = number.clone()
        return Episode(
            task=slot.task,
            start=slot.start,
            transitions=slot.transitions,
            success=bool(result.info["is_success"]),
            env_steps=int(result.info["env_steps"]),
            wall_s=time.perf_counter() - slot.began,
        )


def _scenes(slots: list[_Slot]) -> Tensor | None:
    states = [torch.from_numpy(slot.scene_state) for slot in slots if slot.scene_state is not None]
    return torch.stack(states) if states else None


def _complete(transition: Transition, result: WorkerResult, next_state: dict[str, Tensor]) -> None:
    transition["reward"] = float(result.reward)
    transition["next_state"] = next_state
    transition["done"] = bool(result.terminated)
    transition["truncated"] = bool(result.truncated)
    info = transition["complementary_info"]
    assert info is not None
    info["executed_steps"] = torch.tensor([float(result.info["executed_steps"])])
