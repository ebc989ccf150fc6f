"""What an action approaches: the same for either kind of command, nearest where it aims at the subject."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pirl.algorithms.pi_rl.approach import APPROACH_DIM, STEPS, approach
from pirl.envs.expert.motion import POSITION_SCALE
from pirl.envs.scene_state import GOALS, GRIP_POSITION, PER_METRE, SCENE_DIM, SUBJECT_POSITION, WAY_LEFT

OFFSETS = slice(STEPS, 4 * STEPS)
CLOSENESS = slice(4 * STEPS, 6 * STEPS)


def scene(grip, subject, way=(0.0, 0.0, 0.0)):
    """Places in metres as a scene state with one goal."""
    state = torch.zeros(SCENE_DIM)
    state[GRIP_POSITION] = PER_METRE * torch.tensor(grip)
    state[GOALS[0]][SUBJECT_POSITION] = PER_METRE * torch.tensor(subject)
    state[GOALS[0]][WAY_LEFT] = PER_METRE * torch.tensor(way)
    return state


def absolute(*positions):
    """Commands [H, 7] that go through positions in metres with the gripper closed."""
    commands = torch.zeros(len(positions), 7)
    commands[:, :3] = torch.tensor(positions)
    commands[:, 6] = 1.0
    return commands


place = st.tuples(*[st.floats(-0.5, 0.5, width=32)] * 3)


@given(grip=place, subject=place, steps=st.lists(place, min_size=1, max_size=9))
def test_relative_steps_and_the_poses_they_lead_to_are_one(grip, subject, steps):
    relative = absolute(*steps)
    moved = POSITION_SCALE * relative[:, :3].clamp(-1, 1).cumsum(0)
    poses = relative.clone()
    poses[:, :3] = torch.tensor(grip) + moved
    state = scene(grip, subject)
    torch.testing.assert_close(
        approach(state, relative, relative=True), approach(state, poses, relative=False), atol=1e-5, rtol=1e-5
    )


def test_offsets_are_seen_from_the_subject_and_from_its_destination():
    state = scene((0.0, 0.0, 0.3), (0.1, -0.05, 0.02), way=(0.0, 0.2, 0.0))
    seen = approach(state, absolute((0.0, 0.0, 0.3), (0.1, -0.05, 0.05)), relative=False)
    assert seen.shape == (APPROACH_DIM,)
    assert seen[:STEPS].tolist() == [1.0] * STEPS
    torch.testing.assert_close(seen[OFFSETS][-3:], torch.tensor([0.0, 0.0, 0.3]), atol=1e-6, rtol=0)
    assert seen[CLOSENESS].max() == pytest.approx(1.0)
    torch.testing.assert_close(
        seen[6 * STEPS : 6 * STEPS + 3], torch.tensor([0.0, -2.0, 0.3]), atol=1e-6, rtol=0
    )


def test_leading_dimensions_are_kept_whatever_the_length_of_the_chunk():
    for length in (1, 3, 8, 50):
        seen = approach(torch.rand(5, 2, SCENE_DIM), torch.rand(5, 2, length, 7), relative=True)
        assert seen.shape == (5, 2, APPROACH_DIM) and seen.isfinite().all()
