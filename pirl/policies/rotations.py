"""LeRobot's postprocessing of X-VLA's rotations, all of them at once.

The stock step takes some thirty microseconds per rotation, one after the other; a critic that judges imagined
actions asks for tens of thousands per update.
"""

from __future__ import annotations

import numpy as np
import torch
from lerobot.lerobot_types import EnvTransition, TransitionKey
from lerobot.policies.xvla.processor_xvla import XVLARotation6DToAxisAngleProcessorStep
from lerobot.processor import ProcessorStep

EPSILON = 1e-6


class RotationsToAxisAngles(XVLARotation6DToAxisAngleProcessorStep):
    """The same numbers as the stock step; saved under its name."""

    def __call__(self, transition: EnvTransition) -> EnvTransition:
        """Actions [B, D >= 10] to [B, 7]: position, axis-angle in radians, gripper -1 or 1."""
        action = transition.get(TransitionKey.ACTION)
        if not isinstance(action, torch.Tensor):
            return transition.copy()
        axis_angles = torch.from_numpy(to_axis_angles(action[:, 3:9].cpu().numpy())).to(action)
        gripper = torch.where(action[:, 9:10] > 0.5, 1.0, -1.0).to(action)
        return {**transition, TransitionKey.ACTION: torch.cat([action[:, :3], axis_angles, gripper], dim=-1)}


def at_once(step: ProcessorStep) -> ProcessorStep:
    """A step that does what `step` does, all rotations at once where it turns any."""
    if type(step) is XVLARotation6DToAxisAngleProcessorStep:
        return RotationsToAxisAngles(step.expected_action_dim)
    return step


def to_axis_angles(rotations: np.ndarray) -> np.ndarray:
    """Two columns of a rotation matrix each, [N, 6], to axis-angles [N, 3] in radians, angles up to pi.

    As LeRobot's `rotate6d_to_axis_angle`: the quaternion is the leading eigenvector of Bar-Itzhack's matrix
    (2000, "New method for extracting the quaternion from a rotation matrix").
    """
    first = _unit(rotations[:, :3])
    second = rotations[:, 3:]
    second = _unit(second - np.sum(first * second, axis=-1, keepdims=True) * first)
    m = np.stack([first, second, np.cross(first, second)], axis=-1).astype(np.float32)
    k = np.zeros((len(m), 4, 4), np.float32)  # the lower triangle is all that eigh reads
    for x, y, z in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        k[:, x, x] = m[:, x, x] - m[:, y, y] - m[:, z, z]
        k[:, max(x, y), min(x, y)] = m[:, x, y] + m[:, y, x]
        k[:, 3, x] = m[:, z, y] - m[:, y, z]
    k[:, 3, 3] = m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    values, vectors = np.linalg.eigh(k / np.float32(3))
    quaternion = vectors[np.arange(len(k)), :, values.argmax(axis=-1)]
    quaternion = np.where(quaternion[:, 3:] < 0, -quaternion, quaternion)
    cosine = quaternion[:, 3:].clip(-1, 1)
    sine = np.sqrt(1 - cosine**2)
    factor = np.divide(2 * np.arccos(cosine), sine, out=np.zeros_like(sine), where=sine > 0)
    return quaternion[:, :3] * factor


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + EPSILON)
