"""From a BDDL goal to skills: what has to be done, in which order, and where things go."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pirl.envs.expert.articulation import pull_open, push_shut, turn
from pirl.envs.expert.motion import Actions
from pirl.envs.expert.scene import Goal, Scene
from pirl.envs.expert.skills import drag, holding, is_flat, pick, put

_ORDER = {"turnon": 0, "turnoff": 0, "open": 0, "on": 1, "in": 1, "close": 2}
_STEP = 0.03  # m: lower edges than this in a region (a burner, a drawer's floor) are what things stand on


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
        if predicate == "in" and _is_shut(scene, goal[2]):
            yield from _open(scene, goal[2])
        yield from _move_object(scene, name, goal[2], attempt)
    elif predicate == "open":
        yield from _open(scene, name)
    elif predicate == "close":
        joint, _ = scene.joint_range(name, "default_close_ranges")
        yield from push_shut(scene, joint, _sign_towards(scene, joint, 0.0), lambda: scene.holds(goal))
    else:  # turnon, turnoff
        joint, wanted = scene.joint_range(name, f"default_{predicate}_ranges")
        beyond = float(np.mean(wanted)) if predicate == "turnon" else min(wanted)
        sign = _sign_towards(scene, joint, beyond)
        yield from turn(scene, joint, sign, lambda: scene.holds(goal))


def _open(scene: Scene, name: str) -> Actions:
    joint, wanted = scene.joint_range(name, "default_open_ranges")
    target = float(np.mean(wanted))
    sign = _sign_towards(scene, joint, target)
    yield from pull_open(scene, joint, sign, lambda: sign * (scene.joint_value(joint) - target) >= 0.0)


def _sign_towards(scene: Scene, joint: int, value: float) -> float:
    return 1.0 if value >= scene.joint_value(joint) else -1.0


def _is_shut(scene: Scene, region: str) -> bool:
    """Whether a region is the inside of a drawer that is not open."""
    return (
        not scene.is_object(region)
        and bool(scene.environment.object_sites_dict[region].joints)
        and not scene.holds(("open", region))
    )


def _move_object(scene: Scene, name: str, destination: str, attempt: int) -> Actions:
    if is_flat(scene, name):
        yield from drag(scene, name, scene.position(destination))
        return
    yield from pick(scene, name, attempt)
    if not holding(scene, name):
        return
    yield from put(scene, name, resting_place(scene, name, destination))


def resting_place(scene: Scene, name: str, destination: str) -> np.ndarray:
    """Where the object's body origin shall come to rest, shape (3,), m."""
    if scene.is_object(destination):
        x, y, _ = scene.position(destination)
        return np.array([x, y, _top(scene.points(destination), np.array([x, y])) + _height(scene, name)])
    centre, rotation, half = scene.region_box(destination)
    extent = np.abs(rotation) @ half
    bottom = centre[2] - extent[2]
    xy = _free_spot(scene, name, centre[:2], extent[:2], bottom + _STEP)
    parent = scene.parent(destination)
    if parent is not None:
        points = scene.points(parent)
        bottom = max(bottom, _top(points[points[:, 2] < bottom + _STEP], xy))
    return np.array([*xy, bottom + _height(scene, name)])


def _height(scene: Scene, name: str) -> float:
    """Height of an object's origin above its lowest point, m."""
    return float(scene.position(name)[2] - scene.points(name)[:, 2].min())


def _top(points: np.ndarray, xy: np.ndarray) -> float:
    """Highest of the points within 3 cm of the vertical line at `xy`, m."""
    near = np.linalg.norm(points[:, :2] - xy, axis=1) < 0.03
    return float(points[near, 2].max(initial=-np.inf))


def _free_spot(
    scene: Scene, name: str, centre: np.ndarray, extent: np.ndarray, above: float, margin: float = 0.006
) -> np.ndarray:
    """Place in a region nearest to its centre where the object comes down past nothing that is above `above`.

    Returns:
        Position of the object's origin, shape (2,); where it touches least if nothing is free.
    """
    origin = scene.position(name)[:2]
    obstacles = scene.obstacle_points(name)
    footprint = np.unique((scene.points(name)[:, :2] - origin).round(3), axis=0)
    reach = float(np.linalg.norm(extent) + np.linalg.norm(footprint, axis=1).max()) + margin
    near = np.linalg.norm(obstacles[:, :2] - centre, axis=1) < reach
    obstacles = np.unique(obstacles[near & (obstacles[:, 2] > above), :2].round(3), axis=0)
    tree = cKDTree(footprint)
    steps = [np.linspace(-0.9 * e, 0.9 * e, 9) for e in extent]
    offsets: np.ndarray = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    offsets = offsets[np.argsort(np.linalg.norm(offsets, axis=1))]
    offsets = np.concatenate([np.zeros((1, 2)), offsets])
    touched = np.array(
        [
            np.count_nonzero(tree.query(obstacles - centre - offset)[0] < margin) if len(obstacles) else 0
            for offset in offsets
        ]
    )
    return centre + offsets[int(touched.argmin())]
