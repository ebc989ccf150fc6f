"""When and what robosuite's observables sample, without running sixty of them in every physics step."""

from __future__ import annotations

from typing import Any

import numpy as np

OBSERVATION_RATE = 20.0


class SamplingClock:
    """robosuite's `Observable` clock, in the same floating-point steps; all observables share its ticks.

    It samples in the last but one physics step of each control step, not at its end.
    """

    def __init__(self, timestep: float, rate: float = OBSERVATION_RATE) -> None:
        self._timestep = timestep
        self._period = 1.0 / rate
        self.reset()

    def reset(self) -> None:
        """As after `env.reset` and `set_init_state`, which force one sample each."""
        self._elapsed = 0.0
        self._sampled = False
        self.tick(force=True)
        self.tick(force=True)

    def tick(self, force: bool = False) -> bool:
        """One physics step has passed; whether the observables sample now."""
        self._elapsed += self._timestep
        due = force or (not self._sampled and self._period >= self._elapsed)
        self._sampled |= due
        if self._elapsed >= self._period:
            due |= not self._sampled
            self._elapsed %= self._period
            self._sampled = False
        return due


class RobotSensors:
    """The robot's part of an observation, as robosuite's sensors read it."""

    def __init__(self, environment: Any) -> None:
        """Look up where the values are.

        Args:
            environment: robosuite environment with one arm.
        """
        robot = environment.robots[0]
        self._data = environment.sim.data._data
        self._grip_site = robot.eef_site_id
        self._hand_body = environment.sim.model.body_name2id(robot.robot_model.eef_name)
        self._arm = np.asarray(robot._ref_joint_pos_indexes), np.asarray(robot._ref_joint_vel_indexes)
        self._fingers = (
            np.asarray(robot._ref_gripper_joint_pos_indexes),
            np.asarray(robot._ref_gripper_joint_vel_indexes),
        )
        self.values: dict[str, dict[str, np.ndarray]] = {}

    def sample(self) -> None:
        """Note the present values."""
        data = self._data
        self.values = {
            "eef": {
                "pos": data.site_xpos[self._grip_site].copy(),
                "quat": data.xquat[self._hand_body][[1, 2, 3, 0]],
            },
            "gripper": {"qpos": data.qpos[self._fingers[0]], "qvel": data.qvel[self._fingers[1]]},
            "joints": {"pos": data.qpos[self._arm[0]], "vel": data.qvel[self._arm[1]]},
        }

    def hand_rotation(self) -> np.ndarray:
        """Rotation of the grip site in the world at the last physics step's begin, (3, 3)."""
        return self._data.site_xmat[self._grip_site].reshape(3, 3).copy()
