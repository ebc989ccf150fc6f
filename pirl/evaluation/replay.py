"""Blind replay of demonstrations: the floor under every success rate.

A test that blind replay passes asks for no feedback. What is replayed are poses of the hand (absolute
control) from `sampled` starts: of what was tried, the strongest (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pirl.envs.tasks import MAX_STEPS
from pirl.envs.workers import Task
from pirl.evaluation.plan import PlannedEpisode

REPLAY_FILE = "demonstrations.npz"
LONGEST = max(MAX_STEPS.values())


class Replay:
    """Executes a demonstration's actions whatever it sees, and then stays where it is.

    The seed of an episode's start says which of its task's demonstrations, so that a success rate is a mean
    over them.
    """

    chunk_size = LONGEST
    control_mode = "absolute"
    sampler = "blind replay of the expert's demonstrations"

    def __init__(self, demonstrations: Mapping[Task, list[np.ndarray]]) -> None:
        """Take per task a list of actions [T, 7] in absolute control."""
        self.demonstrations = demonstrations

    def act(self, episode: PlannedEpisode, observation: dict[str, Any]) -> np.ndarray:
        """The whole episode's actions [LONGEST, 7]."""
        choices = self.demonstrations[episode.task]
        actions = choices[episode.start.seed % len(choices)]
        return np.pad(actions, ((0, LONGEST - len(actions)), (0, 0)), mode="edge")

    def save(self, folder: Path) -> None:
        """Write `demonstrations.npz` into `folder`."""
        arrays: dict[str, Any] = {
            f"{suite}:{task_id}:{number}": actions
            for (suite, task_id), choices in self.demonstrations.items()
            for number, actions in enumerate(choices)
        }
        np.savez_compressed(Path(folder) / REPLAY_FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Replay:
        """Read what `save` wrote."""
        demonstrations: dict[Task, list[np.ndarray]] = {}
        with np.load(Path(folder) / REPLAY_FILE) as arrays:
            for name, actions in arrays.items():
                suite, task_id, _ = name.split(":")
                demonstrations.setdefault((suite, int(task_id)), []).append(actions)
        return cls(demonstrations)
