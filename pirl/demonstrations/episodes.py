"""One demonstration: run the expert, keep what it saw and meant to do, and store it whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pirl.demonstrations.layouts import libero_state, turn
from pirl.envs.expert import ScriptedExpert
from pirl.envs.starts import Start


@dataclass(frozen=True)
class Episode:
    """A demonstration in the canonical `libero` layout.

    Attributes:
        suite: LIBERO suite.
        task_id: Task in the suite.
        language: Instruction.
        start: Initial state; None if it is not known (episodes of the hub).
        images: Frames by data set name, turned, each (T, height, width, 3) uint8.
        states: Shape (T, 8), float32.
        actions: What the expert meant to do (clean labels), shape (T, 7), float32.
        success: Whether the task's goal held after the last action.
    """

    suite: str
    task_id: int
    language: str
    start: Start | None
    images: Mapping[str, np.ndarray]
    states: np.ndarray
    actions: np.ndarray
    success: bool

    @property
    def length(self) -> int:
        """Frames T."""
        return len(self.actions)

    def record(self) -> dict[str, Any]:
        """JSON-able facts about the episode, for the sidecar file."""
        return {
            "suite": self.suite,
            "task_id": self.task_id,
            "language": self.language,
            "start": self.start.to_dict() if self.start else None,
            "seed": self.start.seed if self.start else None,
            "success": self.success,
            "length": self.length,
        }

    def save(self, path: Path) -> None:
        """Write to `path` (.npz) at once: either the whole file appears or nothing does."""
        partial = path.with_suffix(".tmp")
        arrays: dict[str, Any] = {f"image:{name}": frames for name, frames in self.images.items()}
        with open(partial, "wb") as file:
            np.savez_compressed(
                file, record=json.dumps(self.record()), states=self.states, actions=self.actions, **arrays
            )
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Episode:
        """Read an episode written by `save`.

        Raises:
            ValueError: If the file is damaged; the message names it.
        """
        try:
            with np.load(path) as arrays:
                record = json.loads(str(arrays["record"]))
                images = {key.partition(":")[2]: arrays[key] for key in arrays if key.startswith("image:")}
                states, actions = arrays["states"], arrays["actions"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path}: damaged episode ({error}); delete it and record again") from error
        return cls(
            record["suite"],
            record["task_id"],
            record["language"],
            Start.from_dict(record["start"]),
            images,
            states,
            actions,
            record["success"],
        )


def demonstrate(simulation: Any, start: Start, *, action_noise: float = 0.0) -> Episode:
    """Let the expert do the task once from `start`.

    With `action_noise` the executed action is the expert's plus Gaussian noise on its first six numbers,
    while the stored action stays clean (DART, Laskey et al. 2017): states off its path, with the way back.

    Args:
        simulation: A `LiberoSimulation` in relative control mode.
        start: Initial state; its seed also seeds the noise.
        action_noise: Standard deviation, in action units; 0.3 is about the most the expert masters.

    Returns:
        The episode, successful or not.
    """
    task = simulation.task
    noise = np.random.default_rng([start.seed, task.task_id])
    simulation.reset(start)
    expert = ScriptedExpert(simulation)
    observations: list[dict[str, Any]] = []
    actions: list[np.ndarray] = []
    executed: list[np.ndarray] = []
    success = False
    while not (success or expert.done) and len(actions) < task.max_steps:
        action = expert.act()
        observations.append(simulation.observe())
        actions.append(action)
        executed.append(_disturb(action, action_noise, noise))
        success = simulation.step(executed[-1])
    return Episode(
        task.suite,
        task.task_id,
        task.language,
        start,
        {
            name: np.stack([turn(observation["pixels"][name]) for observation in observations])
            for name in observations[0]["pixels"]
        },
        np.stack([libero_state(observation["robot_state"]) for observation in observations]),
        np.stack(actions).astype(np.float32),
        success and _replays(simulation, start, executed),
    )


def _disturb(action: np.ndarray, scale: float, noise: np.random.Generator) -> np.ndarray:
    if scale == 0.0:
        return action
    disturbed = action + np.concatenate([noise.normal(0.0, scale, 6), [0.0]])
    return np.clip(disturbed, -1.0, 1.0).astype(np.float32)


def _replays(simulation: Any, start: Start, actions: list[np.ndarray]) -> bool:
    """Whether the executed actions succeed again, at the same step, without the expert."""
    simulation.reset(start)
    return [simulation.step(action) for action in actions][-1]
