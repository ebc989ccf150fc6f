"""What an action chunk approaches: its commanded positions, seen from the goal's subject and destination.

Whether a grasp succeeds depends on where the gripper goes relative to the object, in the same way at every
start. Told this, an action-value critic learns it from few outcomes; a policy that sees pictures alone has to
learn where the object is as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pirl.envs.scene_state import GOALS, MAX_GOALS, PER_METRE, SUBJECT_POSITION, WAY_LEFT

STEPS = 4  # of a chunk that are looked at, evenly spaced, the last among them
# Widths of the closeness in the horizontal plane, in scene units: a grasp forgives half a centimetre to two.
WIDTHS = (0.05, 0.1, 0.2)
APPROACH_DIM = STEPS + MAX_GOALS * (STEPS * (3 + len(WIDTHS)) + 3)


def looked_at(actions: Tensor) -> Tensor:
    """The steps of action chunks that matter here: [..., H, D] -> [..., STEPS, D]."""
    steps = torch.linspace(0, actions.shape[-2], STEPS + 1)[1:].round().long() - 1
    return actions[..., steps, :]


def approach(scenes: Tensor, commands: Tensor) -> Tensor:
    """Describe action chunks for a critic.

    Args:
        scenes: scene states at the decisions, [..., S].
        commands: LIBERO's absolute actions at those steps, [..., STEPS, 7]: position in metres, rotation,
            gripper.

    Returns:
        Gripper commands; per goal the offset from its subject and the closeness to it, and the last offset
        from its destination, [..., APPROACH_DIM] in scene units.
    """
    positions = PER_METRE * commands[..., :3]
    parts = [commands[..., 6]]
    for place in GOALS:
        goal = scenes[..., place]
        subject = goal[..., SUBJECT_POSITION]
        offset = positions - subject[..., None, :]
        distance = offset[..., :2].square().sum(-1)
        parts += [offset.flatten(-2)]
        parts += [torch.exp(-0.5 * distance / width**2) for width in WIDTHS]
        parts += [offset[..., -1, :] - goal[..., WAY_LEFT]]
    return torch.cat(parts, dim=-1)
