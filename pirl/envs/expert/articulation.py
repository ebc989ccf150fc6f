"""Moving what is fixed to a joint: pull a drawer open, turn a knob, push a drawer or a door shut.

The gripper takes hold of the moving body (or leans on it) and follows the path that its joint prescribes: the
pose at joint coordinate q is the pose at the grasp carried along by the joint.
"""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from pirl.envs.expert.grasps import plan_grasps
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
from pirl.envs.expert.skills import DOWN, retreat, travel, up

_LEAD = {mujoco.mjtJoint.mjJNT_SLIDE: 0.05, mujoco.mjtJoint.mjJNT_HINGE: 0.4}
"""How far ahead of the joint the gripper aims, m or rad: the force it applies."""
_STALL_STEPS = 12
_FINGER_RADIUS = 0.014  # m, closed fingers


def carried(scene: Scene, joint: int, points: np.ndarray, change: float) -> np.ndarray:
    """Where points of the moving body get to when its joint changes; (..., 3) -> (..., 3), m."""
    axis, anchor = scene.data.xaxis[joint], scene.data.xanchor[joint]
    if scene.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
        return points + change * axis
    return Rotation.from_rotvec(change * axis).apply(points - anchor) + anchor


def direction(scene: Scene, joint: int, point: np.ndarray, sign: float) -> np.ndarray:
    """Unit vector in which `point` moves when the joint coordinate grows (sign 1) or shrinks (-1), (3,)."""
    axis = scene.data.xaxis[joint]
    if scene.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
        return sign * axis
    motion = sign * np.cross(axis, point - scene.data.xanchor[joint])
    return motion / np.linalg.norm(motion)


def pull_open(scene: Scene, joint: int, sign: float, reached: Callable[[], bool]) -> Actions:
    """Take a drawer by its handle from the front, one finger above and one below, and pull.

    Args:
        scene: The scene.
        joint: The drawer's slide joint.
        sign: Direction of the joint coordinate that opens it.
        reached: Whether it is open far enough.
    """
    outward = direction(scene, joint, np.zeros(3), sign)
    handle = _foremost(scene, joint, outward, depth=0.012).mean(axis=0)
    rotation = nearest_equivalent(scene.grip_rotation, rotation_from_axes(up(1.0), -outward))
    before = handle + 0.09 * outward
    yield from travel(scene, before + up(0.12) + 0.05 * outward, scene.grip_rotation, OPEN, below=0.0)
    yield from move_to(scene, before, rotation, OPEN, tolerance=0.01, angle_tolerance=0.08, max_steps=80)
    grip = handle + 0.004 * outward
    yield from move_to(scene, grip, rotation, OPEN, tolerance=0.005, max_steps=25, speed=0.6)
    yield from move_gripper(scene, CLOSED, 10)
    yield from _follow(scene, joint, sign, reached, CLOSED, scene.grip_position, rotation, turn=False)
    yield from move_gripper(scene, OPEN, 6)
    yield from move_to(
        scene, scene.grip_position + 0.06 * outward, rotation, OPEN, tolerance=0.02, max_steps=15
    )
    yield from retreat(scene, 0.12)


def turn(scene: Scene, joint: int, sign: float, reached: Callable[[], bool]) -> Actions:
    """Take a knob from above and turn it.

    Raises:
        LookupError: If the knob cannot be grasped.
    """
    body = int(scene.model.jnt_bodyid[joint])
    opening = scene.grip_rotation[:, 0]
    points = scene.body_points(body)
    grasps = plan_grasps(points, scene.obstacle_points(), float(np.arctan2(opening[1], opening[0])))
    if not grasps:
        raise LookupError(f"no free grasp of {scene.model.body(body).name}")
    grasp = grasps[0]
    rotation = nearest_equivalent(scene.grip_rotation, rotation_from_axes(grasp.opening, DOWN))
    yield from travel(scene, grasp.position + up(0.05), rotation, OPEN, below=0.0)
    yield from move_to(
        scene, grasp.position, rotation, OPEN, tolerance=0.005, angle_tolerance=0.05, max_steps=25
    )
    yield from move_gripper(scene, CLOSED, 10)
    yield from _follow(scene, joint, sign, reached, CLOSED, scene.grip_position, rotation, turn=True)
    yield from move_gripper(scene, OPEN, 6)
    yield from retreat(scene)


def push_shut(scene: Scene, joint: int, sign: float, reached: Callable[[], bool]) -> Actions:
    """Lean closed fingers on the outside of a drawer or door, far from its hinge, and push.

    Args:
        scene: The scene.
        joint: Slide or hinge joint.
        sign: Direction of the joint coordinate that closes it.
        reached: Whether it is shut.
    """
    points = scene.body_points(int(scene.model.jnt_bodyid[joint]))
    if scene.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE:
        radius = np.linalg.norm((points - scene.data.xanchor[joint])[:, :2], axis=1)
        far = points[radius > 0.85 * radius.max()]
        outward = -direction(scene, joint, far.mean(axis=0), sign)
        edge = far[far @ outward > (far @ outward).max() - 0.01]
    else:
        outward = -direction(scene, joint, np.zeros(3), sign)
        edge = _foremost(scene, joint, outward, depth=0.012)
    contact = edge.mean(axis=0)
    contact[2] = min(float(edge[:, 2].max()), contact[2] + 0.02)
    start = contact + (_FINGER_RADIUS + 0.05) * outward
    sliding = scene.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE
    approach = DOWN - outward if sliding else DOWN  # tilted, so that the palm clears the drawers above
    rotation = rotation_from_axes(np.cross(outward, up(1.0)), approach)
    rotation = nearest_equivalent(scene.grip_rotation, rotation)
    yield from travel(scene, start, rotation, CLOSED, below=0.0)
    touch = contact + _FINGER_RADIUS * outward
    yield from move_to(scene, touch, rotation, CLOSED, tolerance=0.01, max_steps=15)
    yield from _follow(scene, joint, sign, reached, CLOSED, touch, rotation, turn=False)
    yield from move_to(
        scene, scene.grip_position + 0.05 * outward, rotation, CLOSED, tolerance=0.02, max_steps=12
    )
    yield from retreat(scene, 0.12)


def _foremost(scene: Scene, joint: int, outward: np.ndarray, depth: float) -> np.ndarray:
    """Points of the moving body within `depth` m of its front."""
    points = scene.body_points(int(scene.model.jnt_bodyid[joint]))
    ahead = points @ outward
    return points[ahead > ahead.max() - depth]


def _follow(
    scene: Scene,
    joint: int,
    sign: float,
    reached: Callable[[], bool],
    gripper: float,
    position: np.ndarray,
    rotation: np.ndarray,
    *,
    turn: bool,
    max_steps: int = 120,
) -> Actions:
    """Aim ahead along the joint's path until `reached`, or until the joint no longer moves.

    Args:
        scene: The scene.
        joint: The joint that prescribes the path.
        sign: Direction in which its coordinate shall change.
        reached: Asked before each action.
        gripper: OPEN or CLOSED.
        position: Grip position now, shape (3,).
        rotation: Grip rotation now, shape (3, 3).
        turn: Whether the gripper turns with the body.
        max_steps: Upper limit.
    """
    kind = scene.model.jnt_type[joint]
    begin = best = scene.joint_value(joint)
    stalled = 0
    axis = scene.data.xaxis[joint].copy()
    # a slide's axis and a hinge's axis and anchor stay put, so the path can be laid out from the start
    for _ in range(max_steps):
        if reached():
            return
        value = scene.joint_value(joint)
        progressed = sign * (value - best) > 0.0005
        best = value if progressed else best
        stalled = 0 if progressed else stalled + 1
        if stalled > _STALL_STEPS:
            return
        change = value - begin + sign * _LEAD[kind]
        target = carried(scene, joint, position, change)
        wanted = Rotation.from_rotvec(change * axis).as_matrix() @ rotation if turn else rotation
        yield servo(target - scene.grip_position, rotation_error(scene.grip_rotation, wanted), gripper)
