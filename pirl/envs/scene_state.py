"""The simulator's own view of a scene as a vector: for critics in training, never for policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pirl.envs.expert.scene import Goal, Scene

if TYPE_CHECKING:
    from pirl.envs.simulation import LiberoSimulation

MAX_GOALS = 2
GOAL_DIM = 19
ROBOT_DIM = 4
# Elapsed share of the episode, robot, goals.
SCENE_DIM = 1 + ROBOT_DIM + MAX_GOALS * GOAL_DIM
# Tenths of a metre: what decides about a grasp is a few centimetres.
PER_METRE = 10.0


class SceneState:
    """Reads what the task's goal speaks of: where it is, seen from the gripper, and how far from done."""

    def __init__(self, simulation: LiberoSimulation) -> None:
        self._scene = Scene(simulation)
        self._goals: list[Goal] = self._scene.goals[:MAX_GOALS]
        self._sizes: dict[str, np.ndarray] = {}

    def read(self, elapsed: float) -> np.ndarray:
        """The present state, float32 [SCENE_DIM].

        Args:
            elapsed: share of the episode's cap that has passed: with it a value needs no bootstrap there.
        """
        scene = self._scene
        state = np.zeros(SCENE_DIM, np.float32)
        state[0] = elapsed
        state[1 : 1 + ROBOT_DIM] = PER_METRE * np.array([scene.finger_gap, *scene.grip_position])
        for number, goal in enumerate(self._goals):
            begin = 1 + ROBOT_DIM + number * GOAL_DIM
            state[begin : begin + GOAL_DIM] = self._goal(goal)
        return state

    def _goal(self, goal: Goal) -> np.ndarray:
        """One conjunct: its subject seen from the gripper, its size and speed, the way left, whether done."""
        scene, subject = self._scene, goal[1]
        position = scene.position(subject)
        holder = subject if scene.is_object(subject) else scene.parent(subject)
        grip = scene.grip_rotation
        turned, speed, size = np.eye(3), np.zeros(3), np.zeros(3)
        if holder is not None:
            body = scene.body(holder)
            turned = grip.T @ scene.data.xmat[body].reshape(3, 3)
            speed = scene.data.cvel[body, 3:]
            size = self._size(holder)
        way = scene.position(goal[2]) - position if len(goal) > 2 else np.zeros(3)
        return np.concatenate(
            [
                PER_METRE * (grip.T @ (position - scene.grip_position)),
                turned[:, :2].T.ravel(),
                PER_METRE * size,
                speed,
                PER_METRE * way,
                [float(scene.holds(goal))],
            ]
        )

    def _size(self, name: str) -> np.ndarray:
        """Extent of an object in its own frame, shape (3,), m: also tells objects apart."""
        if name not in self._sizes:
            body = self._scene.body(name)
            rotation = self._scene.data.xmat[body].reshape(3, 3)
            points = (self._scene.points(name) - self._scene.data.xpos[body]) @ rotation
            self._sizes[name] = np.ptp(points, axis=0)
        return self._sizes[name]
