"""The two layouts of a LIBERO data set, and the pure functions between them.

`libero` is the canonical record, the layout of `HuggingFaceVLA/libero`: both cameras turned by 180 degrees,
an 8-dim state (eef position 3, axis-angle 3, gripper joints 2) and the 7-dim action. `xvla` is what LeRobot's
XVLA processors for LIBERO give a policy and take from it (`lerobot/policies/xvla/processor_xvla.py`): a
20-dim state, a 10-dim action with a 6-dim rotation, and only the main camera turned. Its action is a step of
the pose (control mode `relative`) or the pose the controller is sent to (`absolute`, as in
`lerobot/xvla-libero`).

Shapes: T frames of one episode, or any leading dimensions "...".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pirl.envs.expert.motion import POSITION_SCALE, ROTATION_SCALE

LAYOUTS = ("libero", "xvla")
CONTROL_MODES = ("relative", "absolute")
FPS = 20
"""LIBERO's control frequency, Hz."""
CAMERAS = {"agentview": "image", "robot0_eye_in_hand": "image2"}
"""Camera name in the simulator -> name in the data set, after LeRobot's `LiberoEnv`."""

STATE_DIMS = {"libero": 8, "xvla": 20}
ACTION_DIMS = {"libero": 7, "xvla": 10}

_HAND_TO_GRIP_SITE = Rotation.from_euler("z", -90, degrees=True)
"""Fixed rotation from robosuite's `eef_quat` (hand body) to its controller's `ee_ori_mat` (grip site)."""


def turn(image: np.ndarray) -> np.ndarray:
    """Turn images by 180 degrees, shape (..., height, width, 3)."""
    return image[..., ::-1, ::-1, :]


def libero_state(robot_state: Mapping[str, Any]) -> np.ndarray:
    """State as LeRobot's `LiberoProcessorStep` makes it from an observation's `robot_state`.

    Returns:
        Position (m), axis-angle (rad, up to 2 pi: the quaternion's sign counts) and gripper joints (m), shape
        (8,), float32.
    """
    quaternion = np.asarray(robot_state["eef"]["quat"], dtype=np.float64)  # x, y, z, w
    sine = np.sqrt(max(1.0 - quaternion[3] ** 2, 0.0))
    angle = 2.0 * np.arccos(np.clip(quaternion[3], -1.0, 1.0))
    axis_angle = quaternion[:3] / sine * angle if sine > 1e-10 else np.zeros(3)
    gripper = robot_state["gripper"]["qpos"]
    return np.concatenate([robot_state["eef"]["pos"], axis_angle, gripper]).astype(np.float32)


def rotation6d(rotation: Rotation) -> np.ndarray:
    """First two columns of the rotation matrices, one after the other, shape (..., 6)."""
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def libero_to_xvla_state(state: np.ndarray) -> np.ndarray:
    """(..., 8) -> (..., 20): position, 6-dim rotation of the grip site, zeros."""
    rotation = rotation6d(_grip_rotation(state)).reshape(*state.shape[:-1], 6)
    pose = np.concatenate([state[..., :3], rotation], axis=-1)
    return np.concatenate([pose, np.zeros((*state.shape[:-1], 11))], axis=-1).astype(np.float32)


def libero_to_xvla_action(action: np.ndarray) -> np.ndarray:
    """(..., 7) -> (..., 10): position delta, 6-dim rotation, gripper 0 (open) or 1 (closed)."""
    return _xvla_action(action[..., :3], Rotation.from_rotvec(action[..., 3:6].reshape(-1, 3)), action)


def libero_to_xvla_target(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """State (..., 8) and relative action (..., 7) -> absolute action (..., 10).

    The pose that robosuite's OSC_POSE aims for after the relative action: position (m), 6-dim rotation of the
    grip site, gripper 0 (open) or 1 (closed).
    """
    return _xvla_action(*_target(state, action), action)


def libero_to_target(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """State (..., 8) and relative action (..., 7) -> the simulator's absolute action (..., 7)."""
    position, rotation = _target(state, action)
    parts = [position, rotation.as_rotvec().reshape(position.shape), action[..., 6:]]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _target(state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """Position (..., 3) and rotations of the grip site that a relative action aims for."""
    step = np.clip(action[..., :6], -1.0, 1.0).astype(np.float64)
    turned = Rotation.from_rotvec(ROTATION_SCALE * step[..., 3:].reshape(-1, 3))
    return state[..., :3] + POSITION_SCALE * step[..., :3], turned * _grip_rotation(state)


def _xvla_action(position: np.ndarray, rotation: Rotation, action: np.ndarray) -> np.ndarray:
    gripper = (action[..., 6:] > 0).astype(np.float32)
    parts = [position, rotation6d(rotation).reshape(*action.shape[:-1], 6), gripper]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _grip_rotation(state: np.ndarray) -> Rotation:
    """Rotations of the grip site, of states (..., 8)."""
    return Rotation.from_rotvec(state[..., 3:6].reshape(-1, 3)) * _HAND_TO_GRIP_SITE


def features(layout: str, cameras: Sequence[str], height: int, width: int) -> dict[str, dict[str, Any]]:
    """LeRobotDataset features of a layout.

    Raises:
        ValueError: For an unknown layout or camera.
    """
    check_layout(layout)
    unknown = [camera for camera in cameras if camera not in CAMERAS]
    if unknown:
        raise ValueError(f"--cameras: unknown {', '.join(unknown)}; LIBERO records {', '.join(CAMERAS)}")
    images = {
        f"observation.images.{CAMERAS[camera]}": {
            "dtype": "image",
            "shape": (height, width, 3),
            "names": ["height", "width", "channel"],
        }
        for camera in cameras
    }
    vectors = {"observation.state": STATE_DIMS[layout], "action": ACTION_DIMS[layout]}
    return images | {
        key: {"dtype": "float32", "shape": (size,), "names": None} for key, size in vectors.items()
    }


def check_layout(layout: str) -> None:
    """Raises ValueError for a layout that is not one of LAYOUTS."""
    if layout not in LAYOUTS:
        raise ValueError(f"--layout: '{layout}' is not one of {', '.join(LAYOUTS)}")


def to_layout(
    layout: str,
    images: Mapping[str, np.ndarray],
    states: np.ndarray,
    actions: np.ndarray,
    control_mode: str = "relative",
) -> dict[str, np.ndarray]:
    """Columns of one episode in a layout, from the canonical record.

    Args:
        layout: "libero" or "xvla".
        images: Frames by data set name ("image", "image2"), turned, each (T, height, width, 3) uint8.
        states: Shape (T, 8).
        actions: Shape (T, 7), relative.
        control_mode: of the columns' actions; the `libero` layout is relative by definition.

    Returns:
        Data set key -> array with T rows.

    Raises:
        ValueError: For an unknown layout or control mode, or two that do not go together.
    """
    check_layout(layout)
    check_control_mode(layout, control_mode)
    columns = {f"observation.images.{name}": frames for name, frames in images.items()}
    if layout == "libero":
        return columns | {"observation.state": states, "action": actions}
    if "image2" in images:  # XVLA's processor leaves the wrist camera as it is rendered
        columns["observation.images.image2"] = turn(images["image2"])
    return columns | {
        "observation.state": libero_to_xvla_state(states),
        "action": libero_to_xvla_action(actions)
        if control_mode == "relative"
        else libero_to_xvla_target(states, actions),
    }


def check_control_mode(layout: str, control_mode: str) -> None:
    """Raises ValueError for a control mode that is not one of CONTROL_MODES, or that a layout lacks."""
    if control_mode not in CONTROL_MODES:
        raise ValueError(f"--control_mode: '{control_mode}' is not one of {', '.join(CONTROL_MODES)}")
    if (layout, control_mode) == ("libero", "absolute"):
        raise ValueError("--control_mode: the libero layout holds relative actions; use --layout xvla")
