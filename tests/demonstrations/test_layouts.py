"""The layouts agree with LeRobot's own LIBERO processors, on numbers and on the live simulator."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lerobot.lerobot_types import TransitionKey
from lerobot.policies.xvla.processor_xvla import LiberoProcessorStep as XVLALiberoProcessorStep
from lerobot.policies.xvla.processor_xvla import XVLARotation6DToAxisAngleProcessorStep
from lerobot.processor.env_processor import LiberoProcessorStep
from scipy.spatial.transform import Rotation

from pirl.demonstrations.layouts import (
    features,
    libero_state,
    libero_to_target,
    libero_to_xvla_action,
    libero_to_xvla_state,
    libero_to_xvla_target,
    to_layout,
    turn,
)
from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start


@given(
    arrays(np.float32, (4, 6), elements=st.floats(-1, 1, width=32)),
    arrays(np.bool_, 4),
)
def test_xvla_action_comes_back_through_lerobots_processor(pose, closed):
    action = np.column_stack([pose, np.where(closed, 1.0, -1.0)]).astype(np.float32)
    step = XVLARotation6DToAxisAngleProcessorStep()
    back = step({TransitionKey.ACTION: torch.from_numpy(libero_to_xvla_action(action))})[TransitionKey.ACTION]
    np.testing.assert_array_equal(back[:, :3], action[:, :3])
    np.testing.assert_array_equal(back[:, 6], action[:, 6])
    np.testing.assert_allclose(back[:, 3:6], action[:, 3:6], atol=2e-3)  # its acos is single precision


def test_the_absolute_target_is_the_one_the_controller_is_given_by_the_relative_action():
    """After one relative action, robosuite's own goal is the pose that the conversion computes."""
    simulation = LiberoSimulation("libero_object", 0, cameras=())
    simulation.reset(Start("official"))
    rng = np.random.default_rng(0)
    for _ in range(5):
        state = libero_state(simulation.observe(images=False)["robot_state"])
        action = rng.uniform(-1.5, 1.5, 7).astype(np.float32)
        simulation.step(action)
        controller = simulation.robosuite_env.robots[0].controller
        target = libero_to_xvla_target(state, action)
        np.testing.assert_allclose(
            target[:3], controller.goal_pos, atol=3e-3
        )  # m; what is observed is a substep old
        np.testing.assert_allclose(target[3:6], controller.goal_ori[:, 0], atol=0.02)
        np.testing.assert_allclose(target[6:9], controller.goal_ori[:, 1], atol=0.02)
        assert target[9] == float(action[6] > 0)
        absolute = libero_to_target(state, action)
        np.testing.assert_allclose(absolute[:3], target[:3])
        turn_between = Rotation.from_rotvec(absolute[3:6]).inv() * Rotation.from_matrix(controller.goal_ori)
        assert turn_between.magnitude() < 0.02
        assert absolute[6] == action[6]
    simulation.close()


def test_control_modes_and_layouts_that_do_not_go_together_are_refused():
    images, state, action = {"image": np.zeros((1, 8, 8, 3), np.uint8)}, np.zeros((1, 8)), np.zeros((1, 7))
    with pytest.raises(ValueError, match="libero layout holds relative actions; use --layout xvla"):
        to_layout("libero", images, state, action, "absolute")
    with pytest.raises(ValueError, match="--control_mode: 'joint' is not one of relative, absolute"):
        to_layout("xvla", images, state, action, "joint")


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7)])
def test_action_shapes(shape):
    assert libero_to_xvla_action(np.zeros(shape, np.float32)).shape == (*shape[:-1], 10)


@pytest.mark.parametrize("shape", [(8,), (5, 8), (2, 3, 8)])
def test_state_shapes(shape):
    assert libero_to_xvla_state(np.zeros(shape, np.float32)).shape == (*shape[:-1], 20)


def test_only_the_main_camera_is_turned_for_xvla():
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8) for name in ("image", "image2")}
    columns = to_layout("xvla", images, np.zeros((3, 8), np.float32), np.zeros((3, 7), np.float32))
    np.testing.assert_array_equal(columns["observation.images.image"], images["image"])
    np.testing.assert_array_equal(columns["observation.images.image2"], turn(images["image2"]))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"--layout: 'rlds' is not one of libero, xvla"):
        features("rlds", ["agentview"], 8, 8)
    with pytest.raises(ValueError, match=r"--cameras: unknown sideview"):
        features("libero", ["sideview"], 8, 8)


def test_states_equal_what_lerobots_processors_make_of_the_live_simulator():
    simulation = LiberoSimulation("libero_object", 0, height=32, width=32)
    try:
        simulation.reset(Start("official", 0, 0))
        expert = ScriptedExpert(simulation)
        for _ in range(30):
            simulation.step(expert.act())
            robot_state = simulation.observe(images=False)["robot_state"]
            batch = {
                part: {key: torch.as_tensor(np.array(value))[None].float() for key, value in values.items()}
                for part, values in robot_state.items()
            }
            state = libero_state(robot_state)
            stock = LiberoProcessorStep().observation({"observation.robot_state": batch})
            np.testing.assert_allclose(state, stock["observation.state"][0], atol=1e-5)
            xvla = XVLALiberoProcessorStep().observation({"observation.robot_state": batch})
            np.testing.assert_allclose(libero_to_xvla_state(state), xvla["observation.state"][0], atol=5e-3)
    finally:
        simulation.close()
