"""What an action approaches: offsets and closeness in the frame in which the simulator obeys."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from pirl.algorithms.pi_rl.approach import (
    APPROACH_DIM,
    GRASP_WIDTHS,
    HEIGHTS,
    PLACE_WIDTHS,
    PLACES,
    STEPS,
    approach,
)
from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.scene_state import GOALS, GRIP_POSITION, PER_METRE, SCENE_DIM, SUBJECT_POSITION, WAY_LEFT
from pirl.envs.starts import Start

LAST, CLOSING, OPENING = STEPS - 1, STEPS, STEPS + 1
OFFSETS = slice(STEPS, STEPS + 3 * PLACES)
CLOSENESS = slice(OFFSETS.stop, OFFSETS.stop + (len(GRASP_WIDTHS) + len(HEIGHTS)) * PLACES)
WAYS = slice(CLOSENESS.stop, CLOSENESS.stop + 3 * PLACES)
ARRIVAL = slice(WAYS.stop, WAYS.stop + len(PLACE_WIDTHS) * PLACES)


def scene(grip, subject, way=(0.0, 0.0, 0.0)):
    """Places in metres as a scene state with one goal."""
    state = torch.zeros(SCENE_DIM)
    state[GRIP_POSITION] = PER_METRE * torch.tensor(grip)
    state[GOALS[0]][SUBJECT_POSITION] = PER_METRE * torch.tensor(subject)
    state[GOALS[0]][WAY_LEFT] = PER_METRE * torch.tensor(way)
    return state


def absolute(*positions, gripper=1.0):
    """Commands [H, 7] that go through positions in metres with the gripper closed, or as given."""
    commands = torch.zeros(len(positions), 7)
    commands[:, :3] = torch.tensor(positions)
    commands[:, 6] = torch.as_tensor(gripper)
    return commands


def places(seen, what):
    """Offsets in metres, [PLACES, 3]."""
    return seen[what].unflatten(0, (PLACES, 3)) / PER_METRE


def test_offsets_are_seen_from_the_subject_and_from_its_destination():
    state = scene((0.0, 0.0, 0.3), (0.1, -0.05, 0.02), way=(0.0, 0.2, 0.0))
    seen = approach(state, absolute((0.0, 0.0, 0.3), (0.1, -0.05, 0.05)))
    assert seen.shape == (APPROACH_DIM,)
    assert seen[:STEPS].tolist() == [1.0] * STEPS
    torch.testing.assert_close(places(seen, OFFSETS)[LAST], torch.tensor([0.0, 0.0, 0.03]))
    assert seen[CLOSENESS].max() == pytest.approx(1.0)


def test_the_subject_goes_along_with_the_hand_to_its_destination():
    state = scene((0.0, 0.0, 0.3), (0.01, -0.01, 0.28), way=(0.1, 0.2, -0.1))
    seen = approach(state, absolute((0.0, 0.0, 0.3), (0.1, 0.2, 0.35)))
    torch.testing.assert_close(places(seen, WAYS)[0], torch.tensor([-0.1, -0.2, 0.1]))
    torch.testing.assert_close(places(seen, WAYS)[LAST], torch.tensor([0.0, 0.0, 0.15]), atol=1e-6, rtol=0)
    arrival = seen[ARRIVAL].unflatten(0, (len(PLACE_WIDTHS), PLACES))
    torch.testing.assert_close(arrival[:, LAST], torch.ones(len(PLACE_WIDTHS)), atol=1e-6, rtol=0)
    assert (arrival[:, 0] < 1e-5).all()


def test_where_the_gripper_closes_and_opens_is_looked_at_whenever_that_is():
    positions = [(0.0, 0.0, 0.3 - 0.01 * step) for step in range(16)]
    state = scene((0.0, 0.0, 0.3), (0.0, 0.0, 0.0))
    heights = {}
    for name, gripper in {
        "closes": [-1.0] * 6 + [1.0] * 10,
        "opens": [1.0] * 11 + [-1.0] * 5,
        "open": [-1.0] * 16,
    }.items():
        seen = approach(state, absolute(*positions, gripper=gripper))
        heights[name] = places(seen, OFFSETS)[:, 2]
    assert heights["closes"][CLOSING] == pytest.approx(0.24)
    assert heights["opens"][OPENING] == pytest.approx(0.19)
    assert heights["open"][OPENING] == pytest.approx(0.3)
    assert heights["open"][CLOSING] == heights["open"][LAST]  # never


def test_the_gripper_is_told_part_by_part():
    gripper = [-1.0] * 2 + [1.0] * 2 + [1.0] * 12
    seen = approach(scene((0.0,) * 3, (0.0,) * 3), absolute(*[(0.0,) * 3] * 16, gripper=gripper))
    assert seen[:STEPS].tolist() == [0.0, 1.0, 1.0, 1.0]


def test_leading_dimensions_are_kept_whatever_the_length_of_the_chunk():
    for length in (1, 3, 8, 50):
        seen = approach(torch.rand(5, 2, SCENE_DIM), torch.rand(5, 2, length, 7))
        assert seen.shape == (5, 2, APPROACH_DIM) and seen.isfinite().all()


def test_the_gripper_goes_where_a_command_is_said_to_lead():
    """Commands and scene states speak of one frame, in the simulator."""
    environment = LiberoChunkEnv(
        [("libero_object", 0)],
        chunk_size=16,
        cameras=(),
        fidelity="fast",
        control_mode="absolute",
        scene_state=True,
    )
    observation, info = environment.reset(options={"start": Start("official")})
    before = torch.from_numpy(info["scene_state"])
    commands = torch.zeros(16, 7)
    commands[:, :3] = before[GRIP_POSITION] / PER_METRE + torch.tensor([0.03, 0.04, -0.05])
    hand = Rotation.from_quat(observation["robot_state"]["eef"]["quat"]).as_rotvec()
    commands[:, 3:6] = torch.tensor(hand)
    commands[:, 6] = -1.0
    said = places(approach(before, commands), OFFSETS)[LAST] * PER_METRE
    for _ in range(3):
        *_, info = environment.step(commands.numpy())
    environment.close()
    after = torch.from_numpy(info["scene_state"])
    reached = after[GRIP_POSITION] - before[GOALS[0]][SUBJECT_POSITION]
    torch.testing.assert_close(said, reached, atol=0.05, rtol=0)  # 5 mm
