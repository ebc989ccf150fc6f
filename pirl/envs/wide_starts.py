"""Wide starts: objects and arm moved so far that replaying one recorded episode no longer solves the task.

LIBERO's official states differ so little that blind replay of one successful episode solves most of them. A
wide start takes a sampled one and moves every object (with what stands on it) and the arm's joints. What
rests on or in furniture stays, since its place belongs to the task. Each draw is settled and kept only if
nothing overlapped, fell over or slid away; after a refusal the next draw is a little narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pirl.envs.placement import Placement, stayed

# The one knob: 1 moves objects by up to 5 cm each way and the arm's joints with sd 0.06 rad.
SPREAD = 1.0
SHIFT = 0.05  # m
JOINT_SD = 0.06  # rad
# A draw is valid if no object moves by more than this while settling, m; they already lie on something.
MAX_DRIFT = 0.03
MAX_DRAWS = 10


def spread_out(wrapper: Any, rng: np.random.Generator, settle: Callable[[], None]) -> bool:
    """Move a settled scene's objects and arm.

    Args:
        wrapper: LIBERO's environment wrapper.
        rng: decides everything.
        settle: runs the settling steps.

    Returns:
        Whether a valid placement was found.
    """
    scene = Placement(wrapper.sim.model._model, wrapper.sim.data._data)
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
        if stayed(before, scene.object_poses(), MAX_DRIFT):
            return True
    return False
