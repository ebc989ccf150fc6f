"""Carrying things: pick an object up, bring it somewhere, put it down."""

from __future__ import annotations

import numpy as np

from pirl.envs.expert.grasps import TIP_BELOW_GRIP, Grasp, plan_grasps
from pirl.envs.expert.motion import (
    CLOSED,
    OPEN,
    Actions,
    move_gripper,
    move_to,
    nearest_equivalent,
    rotation_error,
    rotation_from_axes,
    servo,
)
from pirl.envs.expert.scene import Scene

DOWN = np.array([0.0, 0.0, -1.0])
_CLEARANCE = 0.03  # m between what is carried and what it passes over
_CLOSE_STEPS, _OPEN_STEPS = 10, 6
_EMPTY_GAP = 0.002  # m: fingers this close hold nothing


def up(height: float) -> np.ndarray:
    """Vector of `height` m along z, shape (3,)."""
    return np.array([0.0, 0.0, height])


def highest_between(points: np.ndarray, start: np.ndarray, end: np.ndarray, reach: float = 0.1) -> float:
    """Highest point within `reach` m of the horizontal segment `start` to `end`; -inf if there is none."""
    direction = end[:2] - start[:2]
    length = max(float(np.linalg.norm(direction)), 1e-6)
    progress = np.clip((points[:, :2] - start[:2]) @ direction / length**2, 0.0, 1.0)
    distance = np.linalg.norm(points[:, :2] - (start[:2] + progress[:, None] * direction), axis=1)
    return float(points[distance < reach, 2].max(initial=-np.inf))


def choose_grasp(scene: Scene, name: str, attempt: int) -> Grasp | None:
    """Best top-down grasp of an object now; later attempts take the best one elsewhere on the object."""
    opening = scene.grip_rotation[:, 0]
    grasps = plan_grasps(
        scene.points(name), scene.obstacle_points(name), float(np.arctan2(opening[1], opening[0]))
    )
    for _ in range(attempt):
        if not grasps:
            break
        first = grasps[0]
        grasps = [
            g
            for g in grasps
            if np.linalg.norm(g.position - first.position) > 0.015 or abs(g.yaw - first.yaw) > 0.5
        ]
    return grasps[0] if grasps else None


def pick(scene: Scene, name: str, attempt: int = 0) -> Actions:
    """Grasp an object from above and lift it a little; ends at once if it cannot be grasped."""
    grasp = choose_grasp(scene, name, attempt)
    if grasp is None:
        return
    rotation = nearest_equivalent(scene.grip_rotation, rotation_from_axes(grasp.opening, DOWN))
    yield from travel(scene, grasp.position + up(0.05), rotation, OPEN, below=0.0)
    yield from move_to(
        scene, grasp.position, rotation, OPEN, tolerance=0.004, angle_tolerance=0.05, max_steps=25
    )
    yield from move_gripper(scene, CLOSED, _CLOSE_STEPS)
    yield from move_to(scene, grasp.position + up(0.06), rotation, CLOSED, tolerance=0.02, max_steps=12)


def holding(scene: Scene, name: str) -> bool:
    """Whether the closed fingers have the object between them."""
    nearest = np.linalg.norm(scene.points(name) - scene.grip_position, axis=1).min()
    return scene.finger_gap > _EMPTY_GAP and nearest < 0.03


def travel(
    scene: Scene,
    position: np.ndarray,
    rotation: np.ndarray,
    gripper: float,
    *,
    below: float,
    held: str | None = None,
) -> Actions:
    """Go to a pose from above: rise over everything on the way, cross, then come down.

    Args:
        scene: The scene.
        position: Where the grip site shall be, shape (3,), m.
        rotation: Its rotation there, shape (3, 3).
        gripper: OPEN or CLOSED.
        below: How far the carried object hangs below the grip site, m.
        held: Name of the carried object, which is no obstacle.
    """
    obstacles = scene.obstacle_points(*([held] if held else []))
    start = scene.grip_position
    top = highest_between(obstacles, start, position)
    height = max(float(position[2]), top + below + _CLEARANCE)
    if start[2] < height - 0.01:
        yield from move_to(
            scene, np.array([*start[:2], height]), scene.grip_rotation, gripper, tolerance=0.02
        )
    over = np.array([*position[:2], height])
    yield from move_to(scene, over, rotation, gripper, tolerance=0.015, angle_tolerance=0.1, max_steps=80)
    yield from move_to(scene, position, rotation, gripper, tolerance=0.012, max_steps=40)


def put(scene: Scene, name: str, target: np.ndarray, *, drop: float = 0.0) -> Actions:
    """Bring the held object's body origin over `target`, lower it, let go and retreat.

    Args:
        scene: The scene.
        name: The object in the gripper.
        target: Where the object's origin shall come to rest, shape (3,), m.
        drop: Height above `target` to let go at, m.
    """
    rotation = scene.grip_rotation
    offset = scene.grip_position - scene.position(name)
    below = float(scene.grip_position[2] - scene.points(name)[:, 2].min())
    goal = target + offset + up(drop)
    yield from travel(scene, goal + up(0.04), rotation, CLOSED, below=below, held=name)
    offset = scene.grip_position - scene.position(name)  # it may have slipped on the way
    goal = target + offset + up(drop)
    yield from move_to(scene, goal, rotation, CLOSED, tolerance=0.005, max_steps=25, speed=0.6)
    yield from move_gripper(scene, OPEN, _OPEN_STEPS)
    yield from retreat(scene)


def retreat(scene: Scene, height: float = 0.08) -> Actions:
    """Rise straight up with open fingers."""
    position = scene.grip_position + up(height)
    yield from move_to(scene, position, scene.grip_rotation, OPEN, tolerance=0.02, max_steps=20)


def is_flat(scene: Scene, name: str) -> bool:
    """Whether an object is too flat and wide to be lifted, such as a plate."""
    size = np.ptp(scene.points(name), axis=0)
    return bool(size[2] < 0.022 and size[:2].min() > 0.08)


def drag(scene: Scene, name: str, target: np.ndarray) -> Actions:
    """Press closed fingers into a flat object, against the rim ahead, and slide it until it is over `target`."""
    way = target[:2] - scene.position(name)[:2]
    ahead = np.array([*way, 0.0]) / np.linalg.norm(way)
    points = scene.points(name)
    inside = scene.position(name) + 0.03 * ahead
    near = np.linalg.norm(points[:, :2] - inside[:2], axis=1) < 0.02
    inside[2] = points[near, 2].max() + TIP_BELOW_GRIP + 0.001
    rotation = rotation_from_axes(np.cross(ahead, up(1.0)), DOWN)
    rotation = nearest_equivalent(scene.grip_rotation, rotation)
    yield from travel(scene, inside + up(0.04), rotation, CLOSED, below=0.0)
    yield from move_to(scene, inside, rotation, CLOSED, tolerance=0.005, max_steps=20)
    for _ in range(80):
        left = target[:2] - scene.position(name)[:2]
        if np.linalg.norm(left) < 0.01:
            break
        error = np.array([*left, inside[2] - scene.grip_position[2]])
        yield servo(error, rotation_error(scene.grip_rotation, rotation), CLOSED, speed=0.5)
    yield from retreat(scene)
