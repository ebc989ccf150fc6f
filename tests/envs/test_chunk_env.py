"""Chunks: Gymnasium's rules, summed reward, early ends, refused input."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.starts import Start

TASKS = [("libero_object", 0), ("libero_object", 3)]


@pytest.fixture(scope="module")
def environment():
    environment = LiberoChunkEnv(
        TASKS, chunk_size=8, max_steps=20, cameras=("agentview",), height=64, width=64, fidelity="fast"
    )
    yield environment
    environment.close()


def test_gymnasium_accepts_it(environment):
    check_env(environment, skip_render_check=True)


def test_an_episode_is_cut_at_the_cap(environment):
    environment.reset(options={"task": TASKS[0], "start": Start("official")})
    executed, ends = [], []
    for _ in range(3):
        _, reward, terminated, truncated, info = environment.step(np.zeros((8, 7)))
        executed.append(info["executed_steps"])
        ends.append((reward, terminated, truncated))
    assert executed == [8, 8, 4]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]
    assert info["env_steps"] == 20
    assert info["success_step"] is None


def test_chunks_equal_single_steps(environment):
    actions = np.clip(np.random.default_rng(0).normal(0, 0.4, (8, 7)), -1, 1)
    states = []
    for size in (8, 1):
        environment.reset(options={"task": TASKS[0], "start": Start("sampled", seed=3)})
        for begin in range(0, 8, size):
            observation = environment.step(actions[begin : begin + size])[0]
        states.append(observation["robot_state"]["joints"]["pos"])
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("shape", [(7,), (9, 7), (0, 7), (2, 6)])
def test_a_wrong_shape_is_refused(environment, shape):
    environment.reset(options={"task": TASKS[0], "start": Start("official")})
    with pytest.raises(ValueError, match=r"actions: expected shape \(1 to 8, 7\)"):
        environment.step(np.zeros(shape))


def test_a_chunk_with_nan_is_refused_whole(environment):
    environment.reset(options={"task": TASKS[0], "start": Start("official")})
    actions = np.zeros((3, 7))
    actions[2, 4] = np.nan
    with pytest.raises(ValueError, match="actions: holds NaN"):
        environment.step(actions)
    assert environment.step(np.zeros((1, 7)))[4]["env_steps"] == 1


def test_success_ends_a_chunk_early():
    from pirl.envs.expert import ScriptedExpert
    from pirl.envs.simulation import LiberoSimulation

    settings = {"cameras": (), "fidelity": "fast"}
    simulation = LiberoSimulation(*TASKS[0], **settings)
    simulation.reset(Start("official"))
    expert, actions = ScriptedExpert(simulation), []
    while not actions or not simulation.step(actions[-1]):
        actions.append(expert.act())
    simulation.close()
    environment = LiberoChunkEnv(TASKS, chunk_size=200, **settings)
    environment.reset(options={"task": TASKS[0], "start": Start("official")})
    _, reward, terminated, truncated, info = environment.step(np.concatenate([actions, np.zeros((50, 7))]))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["executed_steps"] == info["success_step"] == info["env_steps"] == len(actions)
    environment.close()


def test_a_task_it_does_not_serve_is_refused(environment):
    with pytest.raises(ValueError, match="is not one of this environment's tasks"):
        environment.reset(options={"task": ("libero_goal", 0)})


def test_step_before_reset_is_refused():
    with pytest.raises(RuntimeError, match="call reset first"):
        LiberoChunkEnv(TASKS, chunk_size=8).step(np.zeros((1, 7)))


def test_only_so_many_simulations_stay_built():
    environment = LiberoChunkEnv(TASKS, chunk_size=8, kept=1, cameras=(), fidelity="fast")
    start = Start("official", index=2, seed=2)
    first = environment.reset(options={"task": TASKS[0], "start": start})[0]
    environment.reset(options={"task": TASKS[1], "start": start})
    assert list(environment._simulations) == TASKS[1:]
    again = environment.reset(options={"task": TASKS[0], "start": start})[0]
    assert list(environment._simulations) == TASKS[:1]
    for part in ("eef", "joints"):
        np.testing.assert_array_equal(first["robot_state"][part]["pos"], again["robot_state"][part]["pos"])
    environment.close()
