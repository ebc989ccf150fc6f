"""The simulator's own view of a scene as a vector: for critics in training, never for policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pirl.envs.expert.scene import Goal, Scene

if TYPE_CHECKING:
    from pirl.envs.simulation import LiberoSimulation

MAX_GOALS = 2
GOAL_DIM = 22
ROBOT_DIM = 4
# Elapsed share of the episode, robot, goals.
SCENE_DIM = 1 + ROBOT_DIM + MAX_GOALS * GOAL_DIM
# Tenths of a metre: what decides about a grasp is a few centimetres.
PER_METRE = 10.0
# Where things lie in the vector: the gripper, and in each goal its subject and the way to its destination.
GRIP_POSITION = slice(2, 5)
GOALS = tuple(
    slice(1 + ROBOT_DIM + n * GOAL_DIM, 1 + ROBOT_DIM + (n + 1) * GOAL_DIM) for n in range(MAX_GOALS)
)
SUBJECT_POSITION, WAY_LEFT = slice(9, 12), slice(18, 21)  # within a goal


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
        for place, goal in zip(GOALS, self._goals, strict=False):
            state[place] = self._goal(goal)
        return state

    def _goal(self, goal: Goal) -> np.ndarray:
        """One conjunct: its subject from the gripper and in the world, its size, speed, way left, if done."""
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
                PER_METRE * position,
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
