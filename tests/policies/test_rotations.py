"""All rotations at once are those of the stock step."""

import numpy as np
import pytest
import torch
from lerobot.lerobot_types import TransitionKey
from lerobot.policies.xvla.processor_xvla import XVLARotation6DToAxisAngleProcessorStep
from lerobot.processor import ProcessorStepRegistry
from scipy.spatial.transform import Rotation

from pirl.policies.rotations import RotationsToAxisAngles, at_once


def columns(rotations):
    return torch.from_numpy(rotations.as_matrix()[..., :2].swapaxes(-1, -2).reshape(-1, 6)).float()


def turned(step, rotations):
    action = torch.cat([torch.rand(len(rotations), 3), rotations, torch.rand(len(rotations), 11)], dim=1)
    return step({TransitionKey.ACTION: action})[TransitionKey.ACTION], action


@pytest.mark.parametrize(
    "rotations",
    [
        columns(Rotation.random(500, random_state=0)),
        columns(Rotation.from_rotvec([[0, 0, 0], [1e-4, 0, 0], [np.pi - 1e-3, 0, 0], [0, 0, -3.0]])),
        torch.randn(500, 6, generator=torch.Generator().manual_seed(1)),
        torch.zeros(1, 6),
    ],
    ids=["proper", "small or half a turn", "any", "none"],
)
def test_they_are_those_of_the_stock_step(rotations):
    stock = XVLARotation6DToAxisAngleProcessorStep()
    torch.manual_seed(0)
    wanted, action = turned(stock, rotations)
    got = at_once(stock)({TransitionKey.ACTION: action})[TransitionKey.ACTION]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_the_hand_that_points_down_is_turned_alike():
    """By half a turn: one rotation has two axes there."""
    down = columns(
        Rotation.from_euler("z", np.linspace(-1, 1, 50)[:, None]) * Rotation.from_rotvec([np.pi, 0, 0])
    )
    stock = XVLARotation6DToAxisAngleProcessorStep()
    wanted, action = turned(stock, down)
    got = at_once(stock)({TransitionKey.ACTION: action})[TransitionKey.ACTION]
    difference = Rotation.from_rotvec(got[:, 3:6]).inv() * Rotation.from_rotvec(wanted[:, 3:6])
    assert difference.magnitude().max() < 1e-3


def test_it_is_saved_as_the_stock_step():
    assert (
        ProcessorStepRegistry.get("xvla_rotation_6d_to_axis_angle") is XVLARotation6DToAxisAngleProcessorStep
    )
    assert RotationsToAxisAngles._registry_name == "xvla_rotation_6d_to_axis_angle"
    other = object()
    assert at_once(other) is other
