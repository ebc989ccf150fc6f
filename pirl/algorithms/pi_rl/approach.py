"""What an action chunk approaches: its commanded positions, seen from the goal's subject and destination.

Whether a grasp succeeds depends on where the gripper goes relative to the object, in the same way at every
start. Told this, an action-value critic learns it from few outcomes; a policy that sees pictures alone has to
learn where the object is as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pirl.envs.scene_state import GOALS, GRIP_POSITION, MAX_GOALS, PER_METRE, SUBJECT_POSITION, WAY_LEFT

STEPS = 4  # of a chunk that are looked at, evenly spaced, the last among them
# Widths of closeness in the horizontal plane, in scene units: a grasp forgives half a centimetre to two, and
# what is let go lands beside a basket 4 cm from its middle.
GRASP_WIDTHS, PLACE_WIDTHS = (0.05, 0.1, 0.2), (0.2, 0.4)
APPROACH_DIM = STEPS + MAX_GOALS * STEPS * (3 + len(GRASP_WIDTHS) + 3 + len(PLACE_WIDTHS))


def looked_at(actions: Tensor) -> Tensor:
    """The steps of action chunks that matter here: [..., H, D] -> [..., STEPS, D]."""
    steps = torch.linspace(0, actions.shape[-2], STEPS + 1)[1:].ceil().long() - 1
    return actions[..., steps, :]


def approach(scenes: Tensor, commands: Tensor) -> Tensor:
    """Describe action chunks for a critic.

    Args:
        scenes: scene states at the decisions, [..., S].
        commands: LIBERO's absolute actions at those steps, [..., STEPS, 7]: position in metres, rotation,
            gripper.

    Returns:
        Gripper commands; per goal the hand's offset from its subject and closeness to it, and the same of the
        subject and its destination, were it to go along with the hand, [..., APPROACH_DIM] in scene units.
    """
    positions = PER_METRE * commands[..., :3]
    parts = [commands[..., 6]]
    moved = positions - scenes[..., None, GRIP_POSITION]
    for place in GOALS:
        goal = scenes[..., place]
        parts += _seen_from(positions - goal[..., None, SUBJECT_POSITION], GRASP_WIDTHS)
        parts += _seen_from(moved - goal[..., None, WAY_LEFT], PLACE_WIDTHS)
    return torch.cat(parts, dim=-1)


def _seen_from(offset: Tensor, widths: tuple[float, ...]) -> list[Tensor]:
    """Offsets [..., STEPS, 3] and how close they are in the plane, each flat."""
    distance = offset[..., :2].square().sum(-1)
    return [offset.flatten(-2), *(torch.exp(-0.5 * distance / width**2) for width in widths)]
