"""From a pose error to a 7-dim OSC_POSE action, and the few motions every skill is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from pirl.envs.expert.scene import Scene

OPEN, CLOSED = -1.0, 1.0
"""Gripper command, the seventh action number."""

POSITION_SCALE, ROTATION_SCALE = 0.05, 0.5
"""Set-point shift for a relative action of 1, m and rad (robosuite's osc_pose.json)."""

Actions = Iterator[np.ndarray]
"""A skill: an iterator that reads the live scene each time it is asked for its next action, shape (7,)."""

_POSITION_GAIN = 2.0
_ROTATION_GAIN = 1.5


def rotation_from_axes(opening: np.ndarray, approach: np.ndarray) -> np.ndarray:
    """Gripper rotation whose fingers open along `opening` and point along `approach`, shape (3, 3).

    The grip site's x axis joins the finger tips and its z axis leaves the palm.
    """
    approach = approach / np.linalg.norm(approach)
    opening = opening - approach * (opening @ approach)
    opening = opening / np.linalg.norm(opening)
    return np.column_stack([opening, np.cross(approach, opening), approach])


def rotation_error(current: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Shortest world-frame rotation vector from `current` to `target`, both (3, 3); shape (3,), rad."""
    return Rotation.from_matrix(target @ current.T).as_rotvec()


def nearest_equivalent(current: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`target` or its half turn about the approach axis (the same grasp), whichever is nearer."""
    turned = target @ np.diag([-1.0, -1.0, 1.0])
    return min((target, turned), key=lambda r: float(np.linalg.norm(rotation_error(current, r))))


def servo(
    position_error: np.ndarray, rotation_vector: np.ndarray, gripper: float, speed: float = 1.0
) -> np.ndarray:
    """Proportional action towards a pose.

    Args:
        position_error: Target minus current grip position, shape (3,), m.
        rotation_vector: World-frame rotation still to do, shape (3,), rad.
        gripper: OPEN or CLOSED.
        speed: Largest translation action, in (0, 1]; 1 is about 0.3 m/s.

    Returns:
        Action, shape (7,), float32 in [-1, 1].
    """
    translation = _POSITION_GAIN * position_error / POSITION_SCALE
    rotation = _ROTATION_GAIN * rotation_vector / ROTATION_SCALE
    translation *= min(1.0, speed / max(float(np.abs(translation).max()), 1e-9))
    rotation *= min(1.0, 1.0 / max(float(np.abs(rotation).max()), 1e-9))
    return np.concatenate([translation, rotation, [gripper]]).astype(np.float32)


def move_to(
    scene: Scene,
    position: np.ndarray,
    rotation: np.ndarray,
    gripper: float,
    *,
    tolerance: float = 0.01,
    angle_tolerance: float = 0.1,
    max_steps: int = 60,
    speed: float = 1.0,
) -> Actions:
    """Drive the grip site to a pose; ends within the tolerances (m, rad) or after `max_steps`."""
    for _ in range(max_steps):
        position_error = position - scene.grip_position
        rotation_vector = rotation_error(scene.grip_rotation, rotation)
        if np.linalg.norm(position_error) < tolerance and np.linalg.norm(rotation_vector) < angle_tolerance:
            return
        yield servo(position_error, rotation_vector, gripper, speed)


def move_gripper(scene: Scene, gripper: float, steps: int) -> Actions:
    """Hold the pose for `steps` while the fingers open or close."""
    position, rotation = scene.grip_position, scene.grip_rotation
    for _ in range(steps):
        yield servo(position - scene.grip_position, rotation_error(scene.grip_rotation, rotation), gripper)
