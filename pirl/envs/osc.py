"""Operational-space control compiled: Khatib 1987, as robosuite 1.4 implements it.

Letters: J Jacobian of the grip site [6, 7] (rows: translation, rotation), M mass matrix of the arm [7, 7],
L = (J M^-1 J^T)^-1 the operational-space inertia. Robosuite forms pseudo-inverses; here Cholesky factors are
solved against, which differs in rounding only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NULLSPACE_STIFFNESS = 10.0
JOINTS = 7


@njit(cache=True)
def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower factor of a symmetric positive definite matrix [n, n]."""
    n = matrix.shape[0]
    lower = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
    return lower


@njit(cache=True)
def solve(lower: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Solve (lower lower^T) x = vector, vector [n]."""
    n = lower.shape[0]
    x = vector.copy()
    for i in range(n):
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    return x


@njit(cache=True)
def cross(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Cross product of two 3-vectors."""
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@njit(cache=True)
def site_jacobian(site: np.ndarray, anchors: np.ndarray, axes: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Jacobian [6, 7] of a site at the end of a chain of hinges."""
    jacobian = np.empty((6, JOINTS))
    column = np.empty(3)
    for j in range(JOINTS):
        axis = axes[joints[j]]
        cross(axis, site - anchors[joints[j]], column)
        for i in range(3):
            jacobian[i, j] = column[i]
            jacobian[3 + i, j] = axis[i]
    return jacobian


@njit(cache=True)
def orientation_error(goal: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Half the sum of the axes' cross products, as robosuite's `orientation_error`; [3]."""
    error = np.zeros(3)
    product = np.empty(3)
    for axis in range(3):
        cross(current[:, axis], goal[:, axis], product)
        error += 0.5 * product
    return error


@njit(cache=True)
def osc_control(
    qpos: np.ndarray,
    qvel: np.ndarray,
    mass: np.ndarray,
    bias: np.ndarray,
    site_xpos: np.ndarray,
    site_xmat: np.ndarray,
    anchors: np.ndarray,
    axes: np.ndarray,
    ctrl: np.ndarray,
    joints: np.ndarray,
    positions: np.ndarray,
    dofs: np.ndarray,
    actuators: np.ndarray,
    finger_actuators: np.ndarray,
    mass_addresses: np.ndarray,
    site: int,
    goal_position: np.ndarray,
    goal_rotation: np.ndarray,
    stiffness: np.ndarray,
    damping: np.ndarray,
    home: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    fingers: np.ndarray,
    finger_step: np.ndarray,
    finger_bias: np.ndarray,
    finger_weight: np.ndarray,
) -> None:
    """Write arm torques and finger positions of one physics step into `ctrl`.

    Args:
        qpos: MuJoCo's array; like the next eight up to date for this step.
        qvel: MuJoCo's array.
        mass: MuJoCo's `qM`.
        bias: MuJoCo's `qfrc_bias`.
        site_xpos: MuJoCo's array.
        site_xmat: MuJoCo's array.
        anchors: MuJoCo's `xanchor`.
        axes: MuJoCo's `xaxis`.
        ctrl: MuJoCo's array, written.
        joints: ids of the arm's joints, [7].
        positions: where `qpos` holds them, [7].
        dofs: where `qvel` holds them, [7].
        actuators: where `ctrl` holds them, [7].
        finger_actuators: the same of the fingers, [2].
        mass_addresses: where `qM` holds the arm's mass matrix, [7, 7], -1 for zero.
        site: id of the grip site.
        goal_position: [3], m.
        goal_rotation: [3, 3].
        stiffness: gains, [6].
        damping: gains, [6].
        home: joint angles that the null space holds, [7], rad.
        low: lowest torques, [7], Nm.
        high: highest torques, [7], Nm.
        fingers: normalised finger command, [2], moved on by `finger_step`.
        finger_step: change of the command in one physics step, [2].
        finger_bias: middle of the fingers' range, [2].
        finger_weight: half of the fingers' range, [2].
    """
    arm_mass = np.zeros((JOINTS, JOINTS))
    velocity = np.empty(JOINTS)
    rest = np.empty(JOINTS)
    for i in range(JOINTS):
        velocity[i] = qvel[dofs[i]]
        rest[i] = (
            NULLSPACE_STIFFNESS * (home[i] - qpos[positions[i]])
            - 2 * np.sqrt(NULLSPACE_STIFFNESS) * velocity[i]
        )
        for j in range(JOINTS):
            if mass_addresses[i, j] >= 0:
                arm_mass[i, j] = mass[mass_addresses[i, j]]
    jacobian = site_jacobian(site_xpos[site], anchors, axes, joints)

    force = np.zeros(6)
    rotation_error = orientation_error(goal_rotation, site_xmat[site].reshape(3, 3))
    for i in range(6):
        speed = 0.0
        for j in range(JOINTS):
            speed += jacobian[i, j] * velocity[j]
        error = goal_position[i] - site_xpos[site, i] if i < 3 else rotation_error[i - 3]
        force[i] = stiffness[i] * error - damping[i] * speed

    mass_factor = cholesky(arm_mass)
    inertia_inverse = np.zeros((6, 6))
    for i in range(6):
        row = solve(mass_factor, jacobian[i])
        for k in range(6):
            for j in range(JOINTS):
                inertia_inverse[k, i] += jacobian[k, j] * row[j]
    wrench = np.empty(6)
    wrench[:3] = solve(cholesky(inertia_inverse[:3, :3]), force[:3])
    wrench[3:] = solve(cholesky(inertia_inverse[3:, 3:]), force[3:])

    # Null space: M rest - J^T L J rest, since Jbar^T = L J M^-1.
    task_part = np.zeros(6)
    for i in range(6):
        for j in range(JOINTS):
            task_part[i] += jacobian[i, j] * rest[j]
    wrench -= solve(cholesky(inertia_inverse), task_part)

    for j in range(JOINTS):
        torque = bias[dofs[j]]
        for i in range(6):
            torque += jacobian[i, j] * wrench[i]
        for k in range(JOINTS):
            torque += arm_mass[j, k] * rest[k]
        ctrl[actuators[j]] = min(max(torque, low[j]), high[j])
    for i in range(2):
        fingers[i] = min(max(fingers[i] + finger_step[i], -1.0), 1.0)
        ctrl[finger_actuators[i]] = finger_bias[i] + finger_weight[i] * fingers[i]
