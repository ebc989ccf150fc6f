"""Carrying things: pick an object up, bring it somewhere, put it down."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

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
_CLEARANCE = 0.05  # m between what is carried and what it passes over
_CLOSE_STEPS, _OPEN_STEPS = 10, 6
_PRESS = 0.2  # action that keeps a flat object under the fingers; pressing harder makes it stick
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
    yaw = float(np.arctan2(opening[1], opening[0]))
    points, obstacles = scene.points(name), scene.obstacle_points(name)
    grasps = plan_grasps(points, obstacles, yaw) or plan_grasps(points, obstacles, yaw, clear_palm=False)
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
    yield from while_holding(scene, name, _bring(scene, name, target, drop))
    yield from move_gripper(scene, OPEN, _OPEN_STEPS)
    yield from retreat(scene)


def while_holding(scene: Scene, name: str, actions: Actions) -> Actions:
    """The actions, until they end or the object is lost."""
    for action in actions:
        if not holding(scene, name):
            return
        yield action


def _bring(scene: Scene, name: str, target: np.ndarray, drop: float) -> Actions:
    rotation = scene.grip_rotation
    offset = scene.grip_position - scene.position(name)
    below = float(scene.grip_position[2] - scene.points(name)[:, 2].min())
    goal = target + offset + up(drop)
    yield from travel(scene, goal + up(0.04), rotation, CLOSED, below=below, held=name)
    offset = scene.grip_position - scene.position(name)  # it may have slipped on the way
    goal = target + offset + up(drop)
    yield from move_to(scene, goal, rotation, CLOSED, tolerance=0.005, max_steps=25, speed=0.6)


def retreat(scene: Scene, height: float = 0.08) -> Actions:
    """Rise straight up with open fingers."""
    position = scene.grip_position + up(height)
    yield from move_to(scene, position, scene.grip_rotation, OPEN, tolerance=0.02, max_steps=20)


def is_flat(scene: Scene, name: str) -> bool:
    """Whether an object is too flat and wide to be lifted, such as a plate."""
    size = np.ptp(scene.points(name), axis=0)
    return bool(size[2] < 0.022 and size[:2].min() > 0.08)


def drag(scene: Scene, name: str, target: np.ndarray) -> Actions:
    """Press closed fingers onto the middle of a flat object and slide it until it is over `target`."""
    points, centre = scene.points(name), scene.position(name)
    distance = np.linalg.norm(points[:, :2] - centre[:2], axis=1)
    surface = points[distance < 0.02, 2].max() + TIP_BELOW_GRIP
    rotation = nearest_equivalent(scene.grip_rotation, rotation_from_axes(scene.grip_rotation[:, 0], DOWN))
    middle = np.array([*centre[:2], surface])
    yield from travel(scene, middle + up(0.03), rotation, CLOSED, below=0.0)
    yield from move_to(scene, middle, rotation, CLOSED, tolerance=0.004, max_steps=20)
    for stop in (via(scene.obstacle_points(name), centre, target, float(distance.max())), target):
        for _ in range(120):
            left = stop[:2] - scene.position(name)[:2]
            slipped = np.linalg.norm((scene.grip_position - scene.position(name))[:2]) > 0.05
            if slipped or np.linalg.norm(left) < 0.012:
                break
            slide = servo(np.array([*left, 0.0]), rotation_error(scene.grip_rotation, rotation), CLOSED, 0.4)
            slide[2] = -_PRESS
            yield slide
    yield from retreat(scene)


def via(obstacles: np.ndarray, start: np.ndarray, end: np.ndarray, reach: float) -> np.ndarray:
    """Corner of the shortest two-leg path on which a disc of radius `reach` touches nothing, (2,), m."""
    steps = np.linspace(-0.15, 0.15, 13)
    middle = 0.5 * (start[:2] + end[:2])
    corners = np.concatenate([middle[None], middle + np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)])
    near = np.linalg.norm(obstacles[:, :2] - middle, axis=1) < 0.5
    tree = cKDTree(np.unique(obstacles[near, :2].round(3), axis=0)) if near.any() else None
    weights = np.linspace(0.0, 1.0, 15)[:, None]
    costs = []
    for corner in corners:
        path = np.concatenate(
            [start[:2] + weights * (corner - start[:2]), corner + weights * (end[:2] - corner)]
        )
        room = np.inf if tree is None else float(tree.query(path)[0].min())
        length = np.linalg.norm(corner - start[:2]) + np.linalg.norm(end[:2] - corner)
        costs.append(length + 5.0 * max(0.0, reach + 0.01 - room))
    return corners[int(np.argmin(costs))]


def wait_until_still(scene: Scene, max_steps: int = 40) -> Actions:
    """Let objects finish falling: some of LIBERO's initial states drop them from a height."""
    for _ in range(max_steps):
        if scene.top_speed() < 0.1:
            return
        yield from move_gripper(scene, OPEN, 1)
