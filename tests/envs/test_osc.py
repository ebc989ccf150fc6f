"""The compiled controller computes robosuite's torques."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from robosuite.utils.control_utils import nullspace_torques, opspace_matrices
from robosuite.utils.control_utils import orientation_error as robosuites_orientation_error
from scipy.spatial.transform import Rotation

from pirl.envs.osc import cholesky, orientation_error, osc_control, site_jacobian, solve

SEEDS = st.integers(0, 2**31)
compiled = settings(deadline=None)  # the first call compiles


@compiled
@given(SEEDS, st.integers(1, 7))
def test_cholesky_solves(seed, n):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    matrix, vector = root @ root.T + np.eye(n), rng.normal(size=n)
    np.testing.assert_allclose(matrix @ solve(cholesky(matrix), vector), vector, atol=1e-9)


@compiled
@given(SEEDS)
def test_orientation_error_is_robosuites(seed):
    goal, current = Rotation.random(2, random_state=seed % 2**32).as_matrix()
    np.testing.assert_allclose(
        orientation_error(goal, current), robosuites_orientation_error(goal, current), atol=1e-12
    )


@compiled
@given(SEEDS)
def test_torques_are_robosuites(seed):
    rng = np.random.default_rng(seed)
    joints = np.arange(7)
    anchors, axes = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    site, goal = rng.normal(size=(2, 3))
    rotation, goal_rotation = Rotation.random(2, random_state=seed % 2**32).as_matrix()
    root = rng.normal(size=(7, 7))
    mass = root @ root.T + np.eye(7)
    qpos, qvel, bias, home = rng.normal(size=(4, 7))
    kp = np.full(6, 150.0)
    kd = 2 * np.sqrt(kp)
    jacobian = site_jacobian(site, anchors, axes, joints)

    velocity = jacobian @ qvel
    force = kp[:3] * (goal - site) - kd[:3] * velocity[:3]
    torque = kp[3:] * robosuites_orientation_error(goal_rotation, rotation) - kd[3:] * velocity[3:]
    _, position_inertia, rotation_inertia, nullspace = opspace_matrices(
        mass, jacobian, np.ascontiguousarray(jacobian[:3]), np.ascontiguousarray(jacobian[3:])
    )
    wrench = np.concatenate([position_inertia @ force, rotation_inertia @ torque])
    expected = jacobian.T @ wrench + bias + nullspace_torques(mass, nullspace, home, qpos, qvel)

    ctrl, limit = np.zeros(9), np.full(7, np.inf)
    fingers = np.zeros(2)
    osc_control(
        qpos, qvel, mass.ravel(), bias, site[None], rotation.reshape(1, 9), anchors, axes, ctrl,
        joints, joints, joints, joints, np.array([7, 8]), np.arange(49).reshape(7, 7), 0,
        goal, goal_rotation, kp, kd, home, -limit, limit,
        fingers, np.array([-0.01, 0.01]), np.zeros(2), np.array([0.02, 0.02]),
    )  # fmt: skip
    np.testing.assert_allclose(ctrl[:7], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(fingers, [-0.01, 0.01])
    np.testing.assert_allclose(ctrl[7:], [-0.0002, 0.0002])
