"""What an action chunk approaches: its commanded positions, seen from the goal's subject and destination.

Whether a grasp succeeds depends on where the gripper goes relative to the object, in the same way at every
start. Told this, an action-value critic learns it from few outcomes; a policy that sees pictures alone has to
learn where the object is as well.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from pirl.envs.scene_state import GOALS, GRIP_POSITION, MAX_GOALS, PER_METRE, SUBJECT_POSITION, WAY_LEFT

STEPS = 4  # of a chunk that are looked at, evenly spaced, the last among them
PLACES = STEPS + 2  # those, and where the gripper is first told to close and first told to open
# Widths of closeness in scene units, in the horizontal plane and in height: a grasp forgives half a
# centimetre to two, and what is let go lands beside a basket 4 cm from its middle.
GRASP_WIDTHS, PLACE_WIDTHS, HEIGHTS = (0.05, 0.1, 0.2), (0.2, 0.4), (0.15, 0.4)
APPROACH_DIM = STEPS + MAX_GOALS * PLACES * (6 + len(GRASP_WIDTHS) + len(PLACE_WIDTHS) + len(HEIGHTS))


def approach(scenes: Tensor, commands: Tensor) -> Tensor:
    """Describe action chunks for a critic.

    Args:
        scenes: scene states at the decisions, [..., S].
        commands: LIBERO's absolute actions, [..., H, 7]: position in metres, rotation, gripper.

    Returns:
        Gripper commands, the means of as many parts of the chunk as steps are looked at; per goal the hand's
        offset from its subject and closeness to it, and the same of the subject and its destination, were it
        to go along with the hand, [..., APPROACH_DIM] in scene units.
    """
    *leading, length, _ = commands.shape
    closed = commands[..., 6] > 0
    steps = torch.linspace(0, length, STEPS + 1)[1:].ceil().long() - 1
    changes = torch.stack([_first(closed), _first(~closed)], dim=-1)
    at = torch.cat([steps.expand(*leading, STEPS).to(changes), changes], dim=-1)
    positions = PER_METRE * commands[..., :3].gather(-2, at[..., None].expand(*leading, PLACES, 3))
    gripper = adaptive_avg_pool1d(commands[..., 6].reshape(-1, 1, length), STEPS)
    parts = [gripper.reshape(*leading, STEPS)]
    moved = positions - scenes[..., None, GRIP_POSITION]
    for place in GOALS:
        goal = scenes[..., place]
        from_subject = positions - goal[..., None, SUBJECT_POSITION]
        from_destination = moved - goal[..., None, WAY_LEFT]
        parts += [from_subject.flatten(-2), *_closeness(from_subject[..., :2], GRASP_WIDTHS)]
        parts += _closeness(from_subject[..., 2:], HEIGHTS)
        parts += [from_destination.flatten(-2), *_closeness(from_destination[..., :2], PLACE_WIDTHS)]
    return torch.cat(parts, dim=-1)


def _first(steps: Tensor) -> Tensor:
    """Index of the first True of each row [..., H], the last index where there is none, [...]."""
    return torch.where(steps.any(-1), steps.int().argmax(-1), steps.shape[-1] - 1)


def _closeness(offset: Tensor, widths: tuple[float, ...]) -> list[Tensor]:
    """exp(-d^2 / 2 w^2) of offsets [..., PLACES, D], for each width [..., PLACES]."""
    distance = offset.square().sum(-1)
    return [torch.exp(-0.5 * distance / width**2) for width in widths]
