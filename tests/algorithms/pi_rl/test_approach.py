"""What an action approaches: offsets and closeness in the frame in which the simulator obeys."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from pirl.algorithms.pi_rl.approach import (
    APPROACH_DIM,
    GRASP_WIDTHS,
    PLACE_WIDTHS,
    STEPS,
    approach,
    looked_at,
)
from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.scene_state import GOALS, GRIP_POSITION, PER_METRE, SCENE_DIM, SUBJECT_POSITION, WAY_LEFT
from pirl.envs.starts import Start

OFFSETS = slice(STEPS, 4 * STEPS)
CLOSENESS = slice(OFFSETS.stop, OFFSETS.stop + len(GRASP_WIDTHS) * STEPS)
WAYS = slice(CLOSENESS.stop, CLOSENESS.stop + 3 * STEPS)
ARRIVAL = slice(WAYS.stop, WAYS.stop + len(PLACE_WIDTHS) * STEPS)


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


def test_offsets_are_seen_from_the_subject_and_from_its_destination():
    state = scene((0.0, 0.0, 0.3), (0.1, -0.05, 0.02), way=(0.0, 0.2, 0.0))
    seen = approach(state, looked_at(absolute((0.0, 0.0, 0.3), (0.1, -0.05, 0.05))))
    assert seen.shape == (APPROACH_DIM,)
    assert seen[:STEPS].tolist() == [1.0] * STEPS
    torch.testing.assert_close(seen[OFFSETS][-3:], torch.tensor([0.0, 0.0, 0.3]), atol=1e-6, rtol=0)
    assert seen[CLOSENESS].max() == pytest.approx(1.0)


def test_the_subject_goes_along_with_the_hand_to_its_destination():
    state = scene((0.0, 0.0, 0.3), (0.01, -0.01, 0.28), way=(0.1, 0.2, -0.1))
    seen = approach(state, looked_at(absolute((0.0, 0.0, 0.3), (0.1, 0.2, 0.35))))
    torch.testing.assert_close(seen[WAYS][:3], torch.tensor([-1.0, -2.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen[WAYS][-3:], torch.tensor([0.0, 0.0, 1.5]), atol=1e-6, rtol=0)
    arrival = seen[ARRIVAL].unflatten(0, (len(PLACE_WIDTHS), STEPS))
    torch.testing.assert_close(arrival[:, -1], torch.ones(len(PLACE_WIDTHS)), atol=1e-6, rtol=0)
    assert (arrival[:, 0] < 1e-5).all()


def test_leading_dimensions_are_kept_whatever_the_length_of_the_chunk():
    for length in (1, 3, 8, 50):
        seen = approach(torch.rand(5, 2, SCENE_DIM), looked_at(torch.rand(5, 2, length, 7)))
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
    said = approach(before, looked_at(commands))[OFFSETS][-3:]
    for _ in range(3):
        *_, info = environment.step(commands.numpy())
    environment.close()
    after = torch.from_numpy(info["scene_state"])
    reached = after[GRIP_POSITION] - before[GOALS[0]][SUBJECT_POSITION]
    torch.testing.assert_close(said, reached, atol=0.05, rtol=0)  # 5 mm
