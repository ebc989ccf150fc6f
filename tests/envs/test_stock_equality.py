"""`exact` equals stock LeRobot bit for bit: state at every step, observation at every decision."""

import contextlib
import io

import numpy as np
import pytest

from pirl.envs.assets import configure_libero
from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

CHUNK = 8
START = Start("official", index=1, seed=5)


def stock_env(suite: str, task_id: int):
    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):
        from lerobot.envs.libero import LiberoEnv, _get_suite

        return LiberoEnv(_get_suite(suite), task_id, suite, obs_type="pixels_agent_pos")


def random_actions(length: int) -> np.ndarray:
    actions = np.clip(np.random.default_rng(0).normal(0.0, 0.5, (length, 7)), -1.0, 1.0)
    actions[:, 6] = np.where(np.arange(length) > length // 2, 1.0, -1.0)
    return actions


def expert_actions(simulation: LiberoSimulation) -> np.ndarray:
    simulation.reset(START)
    expert, actions = ScriptedExpert(simulation), []
    while len(actions) < simulation.task.max_steps and not expert.done:
        actions.append(expert.act())
        if simulation.step(actions[-1]):
            break
    return np.array(actions)


def flat(observation, prefix=""):
    for name, value in observation.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def assert_equal_observations(ours, stock, when):
    ours = dict(flat(ours))
    for name, value in flat(stock):
        np.testing.assert_array_equal(ours[name], value, err_msg=f"{when}: {name}")


def assert_equals_stock(suite: str, task_id: int, length: int | None) -> None:
    """Replays random actions, or the expert's whole episode, in both."""
    ours = LiberoSimulation(suite, task_id)
    stock = stock_env(suite, task_id)
    actions = random_actions(length) if length else expert_actions(ours)
    stock.init_state_id = START.index
    expected, _ = stock.reset(seed=START.seed)
    ours.reset(START)
    assert_equal_observations(ours.observe(), expected, "reset")
    for step, action in enumerate(actions):
        stock._env.sim._render_context_offscreen.gl_ctx.make_current()
        expected, _, _, _, info = stock.step(action)
        assert ours.step(action) == info["is_success"]
        stock_data = stock._env.sim.data._data
        np.testing.assert_array_equal(ours.data.qpos, stock_data.qpos, err_msg=f"step {step}")
        np.testing.assert_array_equal(ours.data.qvel, stock_data.qvel, err_msg=f"step {step}")
        if step % CHUNK == CHUNK - 1 or info["is_success"]:
            assert_equal_observations(ours.observe(), expected, f"step {step}")
    stock.close()
    ours.close()


@pytest.mark.parametrize(("suite", "task_id"), [("libero_object", 0), ("libero_10", 3)])
def test_the_first_steps_equal_stock(suite, task_id):
    assert_equals_stock(suite, task_id, length=16)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("suite", "task_id"),
    [
        ("libero_object", 0),
        ("libero_object", 5),
        ("libero_spatial", 0),
        ("libero_spatial", 4),
        ("libero_goal", 3),
        ("libero_goal", 7),
        ("libero_10", 2),
        ("libero_10", 9),
    ],
)
def test_whole_episodes_equal_stock(suite, task_id):
    assert_equals_stock(suite, task_id, length=None)
