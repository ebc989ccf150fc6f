"""The expert's privileged view of a LIBERO scene: where things are, what they occupy, what is asked."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from pirl.envs.expert.geometry import sample_geom

GRIP_SITE = "gripper0_grip_site"

Goal = tuple[str, ...]
"""One conjunct of a BDDL goal: (predicate, *arguments), e.g. ("in", "milk_1", "basket_1_contain_region")"""


class Scene:
    """Read-only access to a `LiberoSimulation`'s model and state, by BDDL names.

    Everything is read live; only the surface points of each geom (in its own frame) are kept.
    """

    def __init__(self, simulation: Any) -> None:
        self._simulation = simulation
        self._geom_points: dict[int, np.ndarray] = {}

    @property
    def environment(self) -> Any:
        """The LIBERO (robosuite) environment below the simulation."""
        return self._simulation.robosuite_env

    @property
    def model(self) -> mujoco.MjModel:
        """MuJoCo model."""
        return self._simulation.model

    @property
    def data(self) -> mujoco.MjData:
        """MuJoCo state."""
        return self._simulation.data

    # -- gripper ----------------------------------------------------------------------------------
    @property
    def grip_position(self) -> np.ndarray:
        """Grip site, between the finger pads, world frame, shape (3,), m."""
        return self.data.site(GRIP_SITE).xpos.copy()

    @property
    def grip_rotation(self) -> np.ndarray:
        """Columns: finger opening axis, their product, approach axis; shape (3, 3)."""
        return self.data.site(GRIP_SITE).xmat.reshape(3, 3).copy()

    @property
    def finger_gap(self) -> float:
        """Distance the fingers are open, 0 to 0.08 m."""
        return float(
            self.data.joint("gripper0_finger_joint1").qpos[0]
            - self.data.joint("gripper0_finger_joint2").qpos[0]
        )

    # -- goals ------------------------------------------------------------------------------------
    @property
    def goals(self) -> list[Goal]:
        """The task's BDDL goal, one entry per conjunct."""
        return [tuple(goal) for goal in self.environment.parsed_problem["goal_state"]]

    def holds(self, goal: Goal) -> bool:
        """Whether LIBERO's own predicate for `goal` is true now."""
        return bool(self.environment._eval_predicate(list(goal)))

    # -- names ------------------------------------------------------------------------------------
    def is_object(self, name: str) -> bool:
        """Whether `name` is a movable object or a fixture (otherwise it is a region)."""
        return name in self.environment.objects_dict or name in self.environment.fixtures_dict

    def is_movable(self, name: str) -> bool:
        """Whether `name` is an object that can be carried."""
        return name in self.environment.objects_dict

    def parent(self, region: str) -> str | None:
        """Object or fixture that carries a region; None for a zone on the table."""
        parent = self.environment.object_sites_dict[region].parent_name
        return parent if parent is not None and self.is_object(parent) else None

    def body(self, name: str) -> int:
        """MuJoCo id of an object's or fixture's root body."""
        return int(self.environment.obj_body_id[name])

    # -- geometry ---------------------------------------------------------------------------------
    def position(self, name: str) -> np.ndarray:
        """Origin of an object's body or centre of a region, world frame, shape (3,), m."""
        if self.is_object(name):
            return self.data.xpos[self.body(name)].copy()
        return self.data.site(name).xpos.copy()

    def region_box(self, region: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre (3,), rotation (3, 3) and half size (3,) of a region's site."""
        site = self.data.site(region)
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy(), np.array(self.model.site(region).size)

    def _collision_geoms(self, body: int) -> list[int]:
        """Collision geoms of `body` and of everything attached below it."""
        geoms = []
        for geom in range(self.model.ngeom):
            if not (self.model.geom_contype[geom] or self.model.geom_conaffinity[geom]):
                continue
            owner = int(self.model.geom_bodyid[geom])
            while owner != body and owner != 0:
                owner = int(self.model.body_parentid[owner])
            if owner == body:
                geoms.append(geom)
        return geoms

    def body_points(self, body: int) -> np.ndarray:
        """Surface points of a body and its children now, world frame, shape (N, 3), m."""
        clouds = [np.empty((0, 3))]
        for geom in self._collision_geoms(body):
            if geom not in self._geom_points:
                self._geom_points[geom] = sample_geom(self.model, geom)
            rotation = self.data.geom_xmat[geom].reshape(3, 3)
            clouds.append(self._geom_points[geom] @ rotation.T + self.data.geom_xpos[geom])
        return np.concatenate(clouds)

    def points(self, name: str) -> np.ndarray:
        """Surface points of an object or fixture now, world frame, shape (N, 3), m."""
        return self.body_points(self.body(name))

    def obstacle_points(self, *without: str) -> np.ndarray:
        """Surface points of all objects and fixtures except those named, shape (N, 3), m."""
        clouds = [np.empty((0, 3))]
        for name in (*self.environment.objects_dict, *self.environment.fixtures_dict):
            if name not in without and name in self.environment.obj_body_id:
                clouds.append(self.points(name))
        return np.concatenate(clouds)

    def top_speed(self) -> float:
        """Speed of the fastest movable object, m/s."""
        bodies = [self.body(name) for name in self.environment.objects_dict]
        return float(np.linalg.norm(self.data.cvel[bodies, 3:], axis=1).max(initial=0.0))

    # -- joints -----------------------------------------------------------------------------------
    def joint_range(self, name: str, key: str) -> tuple[int, tuple[float, float]]:
        """The joint that moves a region (a drawer) or fixture (a door, a knob), and LIBERO's range.

        Args:
            name: BDDL name of the region or fixture.
            key: LIBERO's name of the range, e.g. "default_open_ranges".

        Returns:
            MuJoCo id of the joint, and the range's ends in m or rad.

        Raises:
            ValueError: If nothing about `name` moves.
        """
        holder = self.environment.get_object(name)
        owner = holder if self.is_object(name) else self.environment.get_object(holder.parent_name)
        if not holder.joints:
            raise ValueError(f"{name} in {self.environment.bddl_file_name} has no joint to move")
        low, high = owner.object_properties["articulation"][key]
        return int(self.model.joint(holder.joints[0]).id), (float(low), float(high))

    def joint_value(self, joint: int) -> float:
        """Joint coordinate now, m or rad."""
        return float(self.data.qpos[self.model.jnt_qposadr[joint]])
