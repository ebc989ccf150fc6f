"""From a BDDL goal to skills: what has to be done, in which order, and where things go."""

from __future__ import annotations

import numpy as np

from pirl.envs.expert.motion import Actions
from pirl.envs.expert.scene import Goal, Scene
from pirl.envs.expert.skills import holding, pick, put

_ORDER = {"turnon": 0, "turnoff": 0, "open": 0, "on": 1, "in": 1, "close": 2}


def next_goal(scene: Scene) -> Goal | None:
    """First conjunct that does not hold: switches and doors open first, things move next, doors close last.

    Raises:
        NotImplementedError: If the goal uses a predicate no skill serves.
    """
    open_goals = [goal for goal in scene.goals if not scene.holds(goal)]
    for goal in open_goals:
        if goal[0] not in _ORDER:
            raise NotImplementedError(
                f"goal {goal} of {scene.environment.bddl_file_name}: the expert knows {', '.join(_ORDER)}"
            )
    return min(open_goals, key=lambda goal: _ORDER[goal[0]], default=None)


def achieve(scene: Scene, goal: Goal, attempt: int) -> Actions:
    """Actions that should make `goal` hold; the caller checks whether they did."""
    predicate, name = goal[0], goal[1]
    if predicate in ("on", "in"):
        yield from _move_object(scene, name, goal[2], attempt)
    else:
        raise NotImplementedError(f"{predicate}")


def _move_object(scene: Scene, name: str, destination: str, attempt: int) -> Actions:
    yield from pick(scene, name, attempt)
    if not holding(scene, name):
        return
    yield from put(scene, name, resting_place(scene, name, destination))


def resting_place(scene: Scene, name: str, destination: str) -> np.ndarray:
    """Where the object's body origin shall come to rest, shape (3,), m."""
    height = float(scene.position(name)[2] - scene.points(name)[:, 2].min())
    if scene.is_object(destination):
        x, y, _ = scene.position(destination)
        points = scene.points(destination)
        near = np.linalg.norm(points[:, :2] - [x, y], axis=1) < 0.03
        return np.array([x, y, points[near, 2].max() + height])
    centre, rotation, half = scene.region_box(destination)
    bottom = centre[2] - (np.abs(rotation) @ half)[2]
    return np.array([centre[0], centre[1], bottom + height])
