"""robosuite's operational-space controller (OSC_POSE) inside the physics loop, twice.

`ExactControl` calls robosuite's own numerics on the same numbers, so its torques are equal bit for bit; what
it leaves out are repeated forward dynamics, name look-ups and records that nobody reads. `CompiledControl`
does the same algebra in one compiled function that solves where robosuite inverts: equal up to rounding.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from pirl.envs.osc import osc_control

ARM_ACTION = slice(0, 6)
GRIPPER_ACTION = slice(6, 7)


class ExactControl:
    """Control steps with torques that equal robosuite's bit for bit."""

    def __init__(self, environment: Any) -> None:
        """Look up indices and limits.

        Args:
            environment: robosuite environment with one arm.
        """
        self._model: mujoco.MjModel = environment.sim.model._model
        self._data: mujoco.MjData = environment.sim.data._data
        self._robot = environment.robots[0]
        model, robot = self._model, self._robot
        self._arm = list(robot._ref_joint_actuator_indexes)
        self._low, self._high = (limit.copy() for limit in robot.torque_limits)
        self._fingers = list(robot._ref_joint_gripper_actuator_indexes)
        limits = model.actuator_ctrlrange[self._fingers]
        self._finger_bias = 0.5 * (limits[:, 1] + limits[:, 0])
        self._finger_weight = 0.5 * (limits[:, 1] - limits[:, 0])
        self._site = robot.eef_site_id
        self._jacobian_position = np.zeros((3, model.nv))
        self._jacobian_rotation = np.zeros((3, model.nv))
        self._mass = np.zeros((model.nv, model.nv))

    def attach(self) -> None:
        """Take hold of the controller that robosuite makes anew at each reset.

        Its first use after a reset sees the home pose instead of the present one (`new_update` is false):
        that belongs to robosuite's behaviour and is kept.
        """
        self._robot.controller.update = self._update

    def substep(self, action: np.ndarray, first: bool) -> None:
        """Write the torques of one physics step into `ctrl`; positions and velocities are up to date.

        Args:
            action: 7 values.
            first: whether this is the control step's first physics step, which sets the goal.
        """
        controller, ctrl = self._robot.controller, self._data.ctrl
        if first:
            controller.set_goal(action[ARM_ACTION])
        ctrl[self._arm] = np.clip(controller.run_controller(), self._low, self._high)
        fingers = self._robot.gripper.format_action(action[GRIPPER_ACTION])
        ctrl[self._fingers] = self._finger_bias + self._finger_weight * fingers

    def _update(self, force: bool = False) -> None:
        """`Controller.update` of robosuite without its forward dynamics."""
        controller, data = self._robot.controller, self._data
        if not (controller.new_update or force):
            return
        position, rotation = self._jacobian_position, self._jacobian_rotation
        mujoco.mj_jacSite(self._model, data, position, rotation, self._site)
        controller.ee_pos = np.array(data.site_xpos[self._site])
        controller.ee_ori_mat = np.array(data.site_xmat[self._site].reshape([3, 3]))
        controller.ee_pos_vel = np.dot(position, data.qvel)
        controller.ee_ori_vel = np.dot(rotation, data.qvel)
        controller.joint_pos = np.array(data.qpos[controller.qpos_index])
        controller.joint_vel = np.array(data.qvel[controller.qvel_index])
        # The copies keep the memory layout, on which the last bit of BLAS depends.
        controller.J_pos = np.array(position[:, controller.qvel_index])
        controller.J_ori = np.array(rotation[:, controller.qvel_index])
        controller.J_full = np.array(np.vstack([controller.J_pos, controller.J_ori]))
        mujoco.mj_fullM(self._model, self._mass, data.qM)
        controller.mass_matrix = self._mass[controller.qvel_index, :][:, controller.qvel_index]
        controller.new_update = False


class CompiledControl(ExactControl):
    """Sets the goal as robosuite does, then runs the remaining physics steps' control compiled."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        robot, data = self._robot, self._data
        self._views = (
            data.qpos, data.qvel, data.qM, data.qfrc_bias, data.site_xpos, data.site_xmat, data.xanchor,
            data.xaxis, data.ctrl,
        )  # fmt: skip
        dofs = np.asarray(robot._ref_joint_vel_indexes)
        self._indices = (
            np.asarray(robot._ref_joint_indexes),
            np.asarray(robot._ref_joint_pos_indexes),
            dofs,
            np.asarray(self._arm),
            np.asarray(self._fingers),
            _mass_addresses(self._model, dofs),
            self._site,
        )
        self._fingers_position = np.zeros(2)

    def substep(self, action: np.ndarray, first: bool) -> None:
        """As in `ExactControl`."""
        controller, gripper = self._robot.controller, self._robot.gripper
        if first:
            super().substep(action, first)
            self._fingers_position[:] = gripper.current_action
            self._finger_step = np.array([-1.0, 1.0]) * gripper.speed * np.sign(action[GRIPPER_ACTION])
            self._settings = (
                np.asarray(controller.goal_pos, dtype=np.float64),
                np.asarray(controller.goal_ori, dtype=np.float64),
                controller.kp,
                controller.kd,
                controller.initial_joint,
            )
            gripper.current_action = self._fingers_position
            return
        osc_control(
            *self._views,
            *self._indices,
            *self._settings,
            self._low,
            self._high,
            self._fingers_position,
            self._finger_step,
            self._finger_bias,
            self._finger_weight,
        )


def _mass_addresses(model: mujoco.MjModel, dofs: np.ndarray) -> np.ndarray:
    """Where `qM` holds the mass matrix of the given degrees of freedom; -1 for a zero.

    Returns:
        int64 [len(dofs), len(dofs)].
    """
    addresses = np.full((len(dofs), len(dofs)), -1)
    positions = {int(dof): index for index, dof in enumerate(dofs)}
    for row, dof in enumerate(dofs):
        address, ancestor = int(model.dof_Madr[dof]), int(dof)
        while ancestor >= 0:
            if ancestor in positions:
                column = positions[ancestor]
                addresses[row, column] = addresses[column, row] = address
            address += 1
            ancestor = int(model.dof_parentid[ancestor])
    return addresses
