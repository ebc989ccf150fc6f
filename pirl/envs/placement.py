"""Where a scene's loose objects are, what they touch, and moving them to free places."""

from __future__ import annotations

import mujoco
import numpy as np

MAX_SHIFTS = 40
GROUND = ("table", "floor")


class Placement:
    """A scene's free bodies, live."""

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


def stayed(before: np.ndarray, after: np.ndarray, max_drift: float, min_upright: float = 0.95) -> bool:
    """Whether no object moved or tilted between two results of `Placement.object_poses`.

    Args:
        before: [objects, 6].
        after: [objects, 6].
        max_drift: along x and y, m; down does not count, since objects are dropped into place.
        min_upright: cosine of the tilt allowed.
    """
    drift = np.linalg.norm(after[:, :2] - before[:, :2], axis=1).max(initial=0.0)
    upright = np.sum(before[:, 3:] * after[:, 3:], axis=1).min(initial=1.0)
    return bool(drift < max_drift and upright > min_upright)
