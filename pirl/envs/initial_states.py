"""Puts a freshly reset task into the initial state that a `Start` names."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from pirl.envs.starts import Start
from pirl.envs.tasks import LiberoTask

# LIBERO's official states spread the arm's joints like this around robosuite's home pose (measured), rad.
JOINT_SD = 0.02
# Wide starts: half-width of the uniform shift of objects, metres, and spread of the arm's joints, rad.
WIDE_SHIFT = 0.05
WIDE_JOINT_SD = 0.06
# A wide draw is kept if objects stay within this of their drawn place and this upright while settling.
MAX_DRIFT = 0.03
MIN_UPRIGHT = 0.95
MAX_DRAWS = 20
MAX_SHIFTS = 40


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        numpy_part = module.split(".")[0] == "numpy" and name in {
            "_reconstruct",
            "ndarray",
            "dtype",
            "scalar",
        }
        if numpy_part or (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"initial states refer to {module}.{name}; only numpy arrays are admitted"
        )


def load_official_states(task: LiberoTask) -> np.ndarray:
    """LIBERO's own initial states of a task, float64 [50, 1 + nq + nv]: time, positions, velocities.

    The files are torch archives of a numpy array; they are read without torch.

    Raises:
        FileNotFoundError: when the file is missing.
    """
    with zipfile.ZipFile(task.init_states_file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as file:
            return np.asarray(_ArrayUnpickler(file).load(), dtype=np.float64)


def place(wrapper: Any, start: Start, official_states: np.ndarray, settle: Callable[[], None]) -> None:
    """Set the state that `start` names and settle it.

    Args:
        wrapper: LIBERO's environment wrapper, just reset under numpy's seed `start.seed`.
        start: which state.
        official_states: of this task.
        settle: runs the settling steps.

    Raises:
        RuntimeError: when no valid wide start was found.
    """
    if start.kind == "official":
        wrapper.set_init_state(official_states[start.index])
        settle()
        return
    rng = np.random.default_rng([start.seed, int(start.kind == "wide")])
    drawn = wrapper.get_sim_state()
    if start.kind == "sampled":
        wrapper.set_init_state(_with_joint_noise(wrapper, drawn, rng, JOINT_SD))
        settle()
        return
    wrapper.set_init_state(drawn)
    settle()
    settled = wrapper.get_sim_state()
    groups = _movable_groups(wrapper)
    for _ in range(MAX_DRAWS):
        wrapper.set_init_state(_with_joint_noise(wrapper, settled, rng, WIDE_JOINT_SD))
        if all(_shift(wrapper, group, rng) for group in groups):
            wrapper.set_init_state(wrapper.get_sim_state())
            before = _object_poses(wrapper)
            settle()
            if _stayed(before, _object_poses(wrapper)):
                return
    raise RuntimeError(f"{start}: no valid placement among {MAX_DRAWS} draws; make WIDE_SHIFT smaller")


def _shift(wrapper: Any, group: list[int], rng: np.random.Generator) -> bool:
    """Move one group of objects to a free place nearby; False when none was found."""
    model, data = wrapper.env.sim.model._model, wrapper.env.sim.data._data
    addresses = _free_bodies(wrapper)
    bodies = {body for body in addresses if body in group}
    home = {body: np.array(data.qpos[addresses[body] : addresses[body] + 2]) for body in bodies}
    for _ in range(MAX_SHIFTS):
        shift = rng.uniform(-WIDE_SHIFT, WIDE_SHIFT, 2)
        for body in bodies:
            data.qpos[addresses[body] : addresses[body] + 2] = home[body] + shift
        mujoco.mj_forward(model, data)
        if not _touches_others(model, data, bodies):
            return True
    return False


def _with_joint_noise(wrapper: Any, state: np.ndarray, rng: np.random.Generator, sd: float) -> np.ndarray:
    noisy = np.array(state)
    indices = np.asarray(wrapper.env.robots[0]._ref_joint_pos_indexes)
    noisy[1 + indices] += rng.normal(0.0, sd, len(indices))
    return noisy


def _free_bodies(wrapper: Any) -> dict[int, int]:
    """Bodies with a free joint: body id -> address of its position in qpos."""
    model = wrapper.env.sim.model._model
    return {
        int(model.jnt_bodyid[joint]): int(model.jnt_qposadr[joint])
        for joint in range(model.njnt)
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
    }


def _movable_groups(wrapper: Any) -> list[list[int]]:
    """Objects that may be shifted, as groups that move together because they touch.

    What touches a fixture other than the ground it stands on stays where it is.

    Returns:
        Body ids, group by group.
    """
    model, data = wrapper.env.sim.model._model, wrapper.env.sim.data._data
    free = _free_bodies(wrapper)
    parent = {body: body for body in free}
    fixed: set[int] = set()

    def root(body: int) -> int:
        while parent[body] != body:
            body = parent[body]
        return body

    for contact in data.contact[: data.ncon]:
        bodies = [int(model.body_rootid[model.geom_bodyid[geom]]) for geom in (contact.geom1, contact.geom2)]
        inside = [body for body in bodies if body in free]
        if len(inside) == 2:
            parent[root(inside[0])] = root(inside[1])
        elif inside and _is_fixture(model, bodies[0] if bodies[1] == inside[0] else bodies[1]):
            fixed.add(inside[0])
    groups: dict[int, list[int]] = {}
    for body in free:
        groups.setdefault(root(body), []).append(body)
    return [group for group in groups.values() if not fixed.intersection(group)]


def _is_fixture(model: mujoco.MjModel, body: int) -> bool:
    name = (mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_BODY, body) or "").lower()
    return body != 0 and not any(word in name for word in ("table", "floor"))


def _object_poses(wrapper: Any) -> np.ndarray:
    """Positions and up-axes of the free bodies, [objects, 6]."""
    data = wrapper.env.sim.data._data
    bodies = list(_free_bodies(wrapper))
    return np.hstack([data.xpos[bodies], data.xmat[bodies].reshape(-1, 3, 3)[:, 2]])


def _touches_others(model: mujoco.MjModel, data: mujoco.MjData, bodies: set[int]) -> bool:
    """Whether any of the bodies touches something other than its own group and the ground."""
    for contact in data.contact[: data.ncon]:
        pair = [int(model.body_rootid[model.geom_bodyid[geom]]) for geom in (contact.geom1, contact.geom2)]
        inside = [body in bodies for body in pair]
        if any(inside) and not all(inside):
            other = pair[inside.index(False)]
            if other in _free_roots(model) or _is_fixture(model, other):
                return True
    return False


def _free_roots(model: mujoco.MjModel) -> set[int]:
    free = model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
    return set(map(int, model.jnt_bodyid[free]))


def _stayed(before: np.ndarray, after: np.ndarray) -> bool:
    drift = np.linalg.norm(after[:, :2] - before[:, :2], axis=1).max(initial=0.0)
    upright = np.sum(before[:, 3:] * after[:, 3:], axis=1).min(initial=1.0)
    return bool(drift < MAX_DRIFT and upright > MIN_UPRIGHT)
