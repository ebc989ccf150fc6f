"""Puts a freshly reset task into the initial state that a `Start` names."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from pirl.envs.placement import Placement, stayed
from pirl.envs.starts import Start
from pirl.envs.tasks import LiberoTask
from pirl.envs.wide_starts import spread_out

# LIBERO's official states spread the arm's joints like this around robosuite's home pose (measured), rad.
JOINT_SD = 0.02
# How far objects may slide while they settle, m; nearly all official states stay below.
MAX_DRIFT = 0.1


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


def place(wrapper: Any, start: Start, official_states: np.ndarray, settle: Callable[[], None]) -> bool:
    """Set the state that `start` names and settle it.

    LIBERO's samplers now and then put one object over another, which then falls off the table.

    Args:
        wrapper: LIBERO's environment wrapper, freshly reset; drawn states begin where it put things.
        start: which state.
        official_states: of this task.
        settle: runs the settling steps.

    Returns:
        Whether the state is valid; false asks for another draw. Official states are taken as they are.
    """
    if start.kind == "official":
        wrapper.set_init_state(official_states[start.index])
        settle()
        return True
    rng = np.random.default_rng([start.seed, int(start.kind == "wide")])
    state = wrapper.get_sim_state()
    if start.kind == "sampled":
        joints = 1 + np.asarray(wrapper.robots[0]._ref_joint_pos_indexes)  # after the time
        state[joints] += rng.normal(0.0, JOINT_SD, len(joints))
    wrapper.set_init_state(state)
    placement = Placement(wrapper.sim.model._model, wrapper.sim.data._data)
    before = placement.object_poses()
    settle()
    if not stayed(before, placement.object_poses(), MAX_DRIFT):
        return False
    return start.kind == "sampled" or spread_out(wrapper, rng, settle)
