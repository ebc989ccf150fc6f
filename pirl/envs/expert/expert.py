"""A scripted expert for LIBERO: reads privileged state, acts through the policy's own 7-dim interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from pirl.envs.expert.motion import OPEN, Actions
from pirl.envs.expert.plan import achieve, next_goal
from pirl.envs.expert.scene import Scene
from pirl.envs.expert.skills import wait_until_still

_MAX_ATTEMPTS = 6


class ScriptedExpert:
    """Works through the conjuncts of a task's goal with pick, place, push, open, close and turn.

    Closed loop: every action is computed from the state at that moment, so it recovers from noise and slips.

    Example:
        >>> expert = ScriptedExpert(simulation)          # after simulation.reset(start)
        >>> while not expert.done:
        ...     success = simulation.step(expert.act())
    """

    def __init__(self, simulation: Any) -> None:
        """Starts a new episode; `simulation` is a reset `LiberoSimulation` in relative control mode."""
        self.scene = Scene(simulation)
        self.done = False
        self._actions = self._work()

    def act(self) -> np.ndarray:
        """Next action, shape (7,), float32 in [-1, 1]; a no-op with open fingers once `done`."""
        action = next(self._actions, None)
        if action is None:
            self.done = True
            return np.array([0, 0, 0, 0, 0, 0, OPEN], dtype=np.float32)
        return action

    def _work(self) -> Actions:
        yield from wait_until_still(self.scene)
        for attempt in range(_MAX_ATTEMPTS):
            while (goal := next_goal(self.scene)) is not None:
                yield from achieve(self.scene, goal, attempt)
                if not self.scene.holds(goal):
                    break
            else:
                return
