"""Wide starts: objects and arm moved so far that replaying one recorded episode no longer solves the task.

LIBERO's official states differ so little that blind replay of one successful episode solves most of them. A
wide start takes a sampled one and moves every object (with what stands on it) and the arm's joints. What
rests on or in furniture stays, since its place belongs to the task. Each draw is settled and kept only if
nothing overlapped, fell over or slid away; after a refusal the next draw is a little narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

# The one knob: 1 moves objects by up to 5 cm each way and the arm's joints with sd 0.06 rad.
SPREAD = 1.0
SHIFT = 0.05  # m
JOINT_SD = 0.06  # rad
# A draw is valid if, while settling, no object moves by more than this, m, or tilts by more than this cosine.
MAX_DRIFT = 0.03
MIN_UPRIGHT = 0.95
MAX_DRAWS = 20
MAX_SHIFTS = 40
GROUND = ("table", "floor")


def spread_out(wrapper: Any, rng: np.random.Generator, settle: Callable[[], None]) -> None:
    """Move a settled scene's objects and arm.

    Args:
        wrapper: LIBERO's environment wrapper.
        rng: decides everything.
        settle: runs the settling steps.

    Raises:
        RuntimeError: when no valid placement was found.
    """
    scene = _Scene(wrapper.sim.model._model, wrapper.sim.data._data)
    settled = wrapper.get_sim_state()
    joints = 1 + np.asarray(wrapper.robots[0]._ref_joint_pos_indexes)  # after the time
    groups = scene.movable_groups()
    for draw in range(MAX_DRAWS):
        spread = SPREAD * (1 - draw / MAX_DRAWS)
        state = settled.copy()
        state[joints] += rng.normal(0.0, spread * JOINT_SD, len(joints))
        wrapper.set_init_state(state)
        if not all(scene.shift(group, spread * SHIFT, rng) for group in groups):
            continue
        wrapper.set_init_state(wrapper.get_sim_state())
        before = scene.object_poses()
        settle()
        if _stayed(before, scene.object_poses()):
            return
    raise RuntimeError(f"no valid placement among {MAX_DRAWS} draws; lower pirl.envs.wide_starts.SPREAD")


class _Scene:
    """Free bodies of a model: where they are and what they touch."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model = model
        self._data = data
        free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        # Body id -> address of its x and y in qpos.
        self._address = {int(model.jnt_bodyid[joint]): int(model.jnt_qposadr[joint]) for joint in free}

    def object_poses(self) -> np.ndarray:
        """Positions and up-axes of the free bodies, [objects, 6]."""
        bodies = list(self._address)
        return np.hstack([self._data.xpos[bodies], self._data.xmat[bodies].reshape(-1, 3, 3)[:, 2]])

    def movable_groups(self) -> list[set[int]]:
        """Bodies that touch each other, as groups; without those that touch more than the ground."""
        groups = {body: {body} for body in self._address}
        fixed: set[int] = set()
        for one, other in self._touching_pairs():
            if one in groups and other in groups:
                merged = groups[one] | groups[other]
                groups.update(dict.fromkeys(merged, merged))
            else:
                fixed |= {one, other} & groups.keys()
        distinct = {min(group): group for group in groups.values()}
        return [group for _, group in sorted(distinct.items()) if not group & fixed]

    def shift(self, group: set[int], reach: float, rng: np.random.Generator) -> bool:
        """Move a group to a free place at most `reach` metres away along x and y; False if none was found."""
        qpos = self._data.qpos
        home = {body: qpos[self._address[body] : self._address[body] + 2].copy() for body in group}
        for _ in range(MAX_SHIFTS):
            offset = rng.uniform(-reach, reach, 2)
            for body, place in home.items():
                qpos[self._address[body] : self._address[body] + 2] = place + offset
            mujoco.mj_forward(self._model, self._data)
            if all(
                one in group and other in group
                for one, other in self._touching_pairs()
                if {one, other} & group
            ):
                return True
        return False

    def _touching_pairs(self) -> list[tuple[int, int]]:
        """Pairs of root bodies in contact, the ground left out."""
        contacts = self._data.contact.geom[: self._data.ncon]
        pairs = self._model.body_rootid[self._model.geom_bodyid[contacts]]
        return [
            (int(one), int(other))
            for one, other in np.unique(pairs, axis=0)
            if one != other and not self._is_ground(one) and not self._is_ground(other)
        ]

    def _is_ground(self, body: int) -> bool:
        name = self._model.body(body).name
        return body == 0 or any(word in name for word in GROUND)


def _stayed(before: np.ndarray, after: np.ndarray) -> bool:
    drift = np.linalg.norm(after[:, :2] - before[:, :2], axis=1).max(initial=0.0)
    upright = np.sum(before[:, 3:] * after[:, 3:], axis=1).min(initial=1.0)
    return bool(drift < MAX_DRIFT and upright > MIN_UPRIGHT)
