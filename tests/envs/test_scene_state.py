"""The simulator's own view: what a critic needs to tell a good grasp from a near miss."""

import numpy as np
import pytest

from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.expert.expert import ScriptedExpert
from pirl.envs.scene_state import (
    GOALS,
    GRIP_POSITION,
    PER_METRE,
    SCENE_DIM,
    SUBJECT_POSITION,
    WAY_LEFT,
)
from pirl.envs.starts import Start

TASK = ("libero_object", 0)
GOAL = GOALS[0]


@pytest.fixture(scope="module")
def environment():
    environment = LiberoChunkEnv(
        [TASK], chunk_size=8, max_steps=200, cameras=(), fidelity="fast", scene_state=True
    )
    yield environment
    environment.close()


def test_it_follows_an_episode_to_its_goal(environment):
    _, info = environment.reset(options={"start": Start("sampled", seed=5)})
    states = [info["scene_state"]]
    expert, success = ScriptedExpert(environment._simulation), False
    while not success:
        _, _, success, truncated, info = environment.step(expert.act()[None])
        states.append(info["scene_state"])
        assert not truncated
    states = np.array(states)
    assert states.dtype == np.float32 and states.shape[1] == SCENE_DIM
    assert states[0, 0] == 0 and states[-1, 0] == pytest.approx((len(states) - 1) / 200)
    goals = states[:, GOAL]
    # Far away at first; between the fingers while it is carried.
    distance = np.linalg.norm(goals[:, :3], axis=1) / PER_METRE
    assert distance[0] > 0.1 and distance.min() < 0.04
    np.testing.assert_array_equal(goals[:-1, -1], 0)
    assert goals[-1, -1] == 1
    way = np.linalg.norm(goals[:, WAY_LEFT], axis=1)
    assert way[-1] < way[0]
    # One goal: the second one's place is empty.
    assert not states[:, GOAL.stop :].any()


def test_it_is_seen_from_the_gripper(environment):
    _, info = environment.reset(options={"start": Start("sampled", seed=6)})
    simulation = environment._simulation
    seen = info["scene_state"][GOAL][:3] / PER_METRE
    site = simulation.data.site("gripper0_grip_site")
    subject = simulation.robosuite_env.parsed_problem["goal_state"][0][1]
    position = simulation.data.xpos[simulation.robosuite_env.obj_body_id[subject]]
    np.testing.assert_allclose(site.xpos + site.xmat.reshape(3, 3) @ seen, position, atol=1e-6)
    state = info["scene_state"]
    np.testing.assert_allclose(state[GRIP_POSITION] / PER_METRE, site.xpos, atol=1e-6)
    np.testing.assert_allclose(state[GOAL][SUBJECT_POSITION] / PER_METRE, position, atol=1e-6)


@pytest.mark.parametrize("task", [("libero_goal", 0), ("libero_goal", 7), ("libero_10", 2), ("libero_10", 0)])
def test_drawers_knobs_and_several_goals_fit_too(task):
    environment = LiberoChunkEnv([task], chunk_size=1, cameras=(), fidelity="fast", scene_state=True)
    _, info = environment.reset(options={"start": Start("official")})
    state = info["scene_state"]
    environment.close()
    assert state.shape == (SCENE_DIM,) and np.isfinite(state).all() and state[GOAL].any()


def test_it_comes_only_where_it_is_asked_for():
    environment = LiberoChunkEnv([TASK], chunk_size=1, cameras=(), fidelity="fast")
    assert "scene_state" not in environment.reset()[1]
    environment.close()
