"""The expert does its tasks in the real simulator, through the policy's own interface."""

import numpy as np
import pytest

from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start


def successes(suite, task_id, starts, noise=0.0):
    """Number of starts from which the expert succeeds within the suite's step limit."""
    simulation = LiberoSimulation(suite, task_id, cameras=(), fidelity="fast")
    done = 0
    try:
        for start in starts:
            rng = np.random.default_rng(start.seed)
            simulation.reset(start)
            expert = ScriptedExpert(simulation)
            for _ in range(simulation.task.max_steps):
                action = expert.act()
                assert action.shape == (7,)
                assert action.dtype == np.float32
                assert np.abs(action).max() <= 1.0
                action[:6] = np.clip(action[:6] + rng.normal(0, noise, 6), -1, 1)
                if simulation.step(action):
                    done += 1
                    break
                if expert.done:
                    break
    finally:
        simulation.close()
    return done


def official(count):
    return [Start("official", index, index) for index in range(count)]


def sampled(count):
    return [Start("sampled", 0, 1_000_000 + index) for index in range(count)]


def test_grip_axes_are_what_the_planner_believes():
    from pirl.envs.expert.scene import Scene

    simulation = LiberoSimulation("libero_object", 0, cameras=(), fidelity="fast")
    try:
        simulation.reset(Start("official", 0, 0))
        scene = Scene(simulation)
        pads = [scene.data.geom(f"gripper0_finger{i}_pad_collision").xpos for i in (1, 2)]
        between = (pads[1] - pads[0]) / np.linalg.norm(pads[1] - pads[0])
        assert abs(between @ scene.grip_rotation[:, 0]) > 0.999
        assert scene.grip_rotation[2, 2] < -0.99
    finally:
        simulation.close()


@pytest.mark.parametrize(
    ("suite", "task_id"),
    [
        ("libero_object", 1),  # thin box on the floor
        ("libero_spatial", 4),  # bowl in an open drawer
        ("libero_goal", 0),  # pull a drawer
        ("libero_goal", 7),  # turn a knob
        ("libero_10", 3),  # put into a drawer, push it shut
    ],
)
def test_each_skill_works(suite, task_id):
    assert successes(suite, task_id, official(2)) == 2


def test_noise_is_recovered_from():
    assert successes("libero_object", 0, sampled(3), noise=0.2) == 3


@pytest.mark.slow
@pytest.mark.parametrize("task_id", range(10))
@pytest.mark.parametrize(
    ("suite", "least"), [("libero_object", 20), ("libero_spatial", 14), ("libero_goal", 10)]
)
def test_success_over_twenty_official_starts(suite, task_id, least):
    assert successes(suite, task_id, official(20)) >= least


@pytest.mark.slow
@pytest.mark.parametrize("task_id", range(10))
def test_success_over_wide_starts(task_id):
    starts = [Start("wide", 0, 1_000_000 + index) for index in range(20)]
    assert successes("libero_object", task_id, starts) >= 19
