"""Postures of the arm that the expert takes, and putting it into them in other scenes."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from pirl.envs.expert import ScriptedExpert
from pirl.envs.expert.motion import CLOSED
from pirl.envs.expert.scene import GRIP_SITE, Scene
from pirl.envs.expert.skills import holding
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

EPISODES = 3
MAX_STEPS = 200
REACH_STEPS, REACH_DAMPING = 6, 1e-4


class Hand(StrEnum):
    """What a hand is about."""

    OPEN = "open"  # on its way to the goal's object
    HOLDING = "holding"  # with the object, on its way to the destination
    EMPTY = "empty"  # closed, where a hand would be that holds the object


class Posture(NamedTuple):
    """A moment of the expert's."""

    arm: np.ndarray  # joints, [7], rad
    fingers: np.ndarray  # joints, [2], m
    offset: np.ndarray  # of the hand from where it goes to, [3], m
    held: tuple[np.ndarray, np.ndarray] | None  # the object's position [3] and rotation [3, 3] in the hand


Postures = dict[Hand, list[Posture]]


class Puppet:
    """A scene whose arm is put into postures, without physics."""

    def __init__(self, simulation: LiberoSimulation) -> None:
        robot = simulation.robosuite_env.robots[0]
        self.scene = Scene(simulation)
        self._model, self._data = simulation.model, simulation.data
        self._arm = np.asarray(robot._ref_joint_pos_indexes)
        self._fingers = np.asarray(robot._ref_gripper_joint_pos_indexes)
        self._dofs = robot._ref_joint_vel_indexes
        goal = self.scene.goals[0]
        # A goal without a destination ends with its subject.
        self.subject, self.destination = goal[1], goal[-1]

    def goes_to(self, hand: Hand) -> np.ndarray:
        """Where the expert's hand goes to, [3], m; an empty one as if it held the object."""
        return self.scene.position(self.subject if hand is Hand.OPEN else self.destination)

    def posture(self, hand: Hand) -> Posture:
        """The present one."""
        scene = self.scene
        grip, turned = scene.grip_position, scene.grip_rotation
        held = None
        if hand is Hand.HOLDING:
            rotation = self._data.xmat[scene.body(self.subject)].reshape(3, 3)
            held = turned.T @ (scene.position(self.subject) - grip), turned.T @ rotation
        joints = self._data.qpos
        return Posture(
            joints[self._arm].copy(), joints[self._fingers].copy(), grip - self.goes_to(hand), held
        )

    def take(self, posture: Posture, joint_noise: np.ndarray, target: np.ndarray | None = None) -> None:
        """Put the arm into a posture, and what it holds into its hand.

        Args:
            posture: one of a scene with the same robot and goal.
            joint_noise: added to the arm's joints, [7], rad.
            target: where the hand is moved to then, turned as it is, [3], m; None: it stays.
        """
        data = self._data
        data.qvel[:] = 0
        data.qpos[self._arm] = posture.arm + joint_noise
        data.qpos[self._fingers] = posture.fingers
        if target is not None:
            self._reach(target)
        if posture.held is not None:
            mujoco.mj_kinematics(self._model, data)
            self._hold(*posture.held)
        mujoco.mj_forward(self._model, data)

    def _reach(self, target: np.ndarray) -> None:
        """Damped least squares."""
        model, data, site = self._model, self._data, self._model.site(GRIP_SITE).id
        along, around = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        for _ in range(REACH_STEPS):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, along, around, site)
            jacobian = np.vstack([along, around])[:, self._dofs]
            wanted = np.concatenate([target - data.site_xpos[site], np.zeros(3)])
            damped = jacobian @ jacobian.T + REACH_DAMPING * np.eye(6)
            data.qpos[self._arm] += jacobian.T @ np.linalg.solve(damped, wanted)

    def _hold(self, position: np.ndarray, rotation: np.ndarray) -> None:
        body = self.scene.body(self.subject)
        address = int(self._model.jnt_qposadr[self._model.body_jntadr[body]])
        turned = self.scene.grip_rotation
        quaternion = Rotation.from_matrix(turned @ rotation).as_quat()  # x, y, z, w
        self._data.qpos[address : address + 3] = self.scene.grip_position + turned @ position
        self._data.qpos[address + 3 : address + 7] = quaternion[[3, 0, 1, 2]]


def expert_postures(simulation: LiberoSimulation, seed: int) -> Postures:
    """Wherever the expert takes arm and fingers, nearest to where it goes first.

    The empty hand is the holding one with its fingers shut.
    """
    postures: Postures = {hand: [] for hand in Hand}
    for episode in range(EPISODES):
        simulation.reset(Start("wide", seed=seed + episode))
        puppet, expert = Puppet(simulation), ScriptedExpert(simulation)
        for _ in range(MAX_STEPS):
            action = expert.act()
            success = simulation.step(action)
            if action[6] != CLOSED:
                postures[Hand.OPEN].append(puppet.posture(Hand.OPEN))
            elif puppet.destination != puppet.subject and holding(puppet.scene, puppet.subject):
                postures[Hand.HOLDING].append(puppet.posture(Hand.HOLDING))
            if success or expert.done:
                break
    for of_hand in postures.values():
        of_hand.sort(key=lambda posture: float(np.linalg.norm(posture.offset)))
    shut = np.zeros(2)
    postures[Hand.EMPTY] = [p._replace(fingers=shut, held=None) for p in postures[Hand.HOLDING]]
    return postures
