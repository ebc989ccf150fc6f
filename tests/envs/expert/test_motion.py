"""Servo actions stay in bounds, point the right way and vanish at the goal."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pirl.envs.expert.motion import (
    CLOSED,
    OPEN,
    nearest_equivalent,
    rotation_error,
    rotation_from_axes,
    servo,
)

VECTORS = arrays(float, 3, elements=st.floats(-2, 2))


@given(VECTORS, VECTORS, st.sampled_from([OPEN, CLOSED]), st.floats(0.1, 1.0))
def test_servo_is_bounded_and_keeps_its_direction(position, rotation, gripper, speed):
    action = servo(position, rotation, gripper, speed)
    assert action.shape == (7,)
    assert action.dtype == np.float32
    assert np.abs(action[:3]).max() <= speed + 1e-6
    assert np.abs(action[3:6]).max() <= 1.0 + 1e-6
    assert action[6] == gripper
    np.testing.assert_allclose(np.cross(action[:3], position), 0.0, atol=1e-5)


def test_servo_rests_at_the_goal():
    np.testing.assert_array_equal(servo(np.zeros(3), np.zeros(3), OPEN), [0, 0, 0, 0, 0, 0, -1])


@given(VECTORS, VECTORS)
def test_rotation_error_leads_to_the_target(first, second):
    current, target = Rotation.from_rotvec(first), Rotation.from_rotvec(second)
    error = rotation_error(current.as_matrix(), target.as_matrix())
    reached = Rotation.from_rotvec(error) * current
    np.testing.assert_allclose(reached.as_matrix(), target.as_matrix(), atol=1e-6)


def test_axes_become_columns_and_half_turns_are_equivalent():
    rotation = rotation_from_axes(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0]))
    np.testing.assert_allclose(rotation[:, 0], [1, 0, 0])
    np.testing.assert_allclose(rotation[:, 2], [0, 0, -1])
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    turned = rotation @ np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(nearest_equivalent(rotation, turned), rotation)
