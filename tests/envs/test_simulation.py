"""The simulation equals stock LeRobot bit for bit, and refuses what it should."""

import contextlib
import io

import numpy as np
import pytest

from pirl.envs.assets import configure_libero
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

EXACT_TASKS = [("libero_object", 0), ("libero_goal", 3)]
MORE_EXACT_TASKS = [
    ("libero_object", 5),
    ("libero_spatial", 0),
    ("libero_spatial", 4),
    ("libero_goal", 7),
    ("libero_10", 2),
    ("libero_10", 9),
]
SIZE = 64


def random_actions(seed: int, length: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    actions = np.clip(rng.normal(0.0, 0.5, (length, 7)), -1.0, 1.0)
    actions[:, 6] = np.where(np.arange(length) > length // 2, 1.0, -1.0)
    return actions


def assert_equals_stock(suite: str, task_id: int, episodes: int, length: int) -> None:
    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):
        from lerobot.envs.libero import LiberoEnv, _get_suite

        stock = LiberoEnv(
            _get_suite(suite), task_id, suite, obs_type="pixels_agent_pos",
            observation_width=SIZE, observation_height=SIZE,
        )  # fmt: skip
    ours = LiberoSimulation(suite, task_id, height=SIZE, width=SIZE)

    def assert_equal_now(theirs, step):
        mine = ours.observe()
        data = stock._env.env.sim.data._data
        np.testing.assert_array_equal(data.qpos, ours.data.qpos, err_msg=f"step {step}")
        np.testing.assert_array_equal(data.qvel, ours.data.qvel, err_msg=f"step {step}")
        for name, image in theirs["pixels"].items():
            np.testing.assert_array_equal(image, mine["pixels"][name], err_msg=f"step {step}: {name}")
        for part, values in theirs["robot_state"].items():
            for key, value in values.items():
                np.testing.assert_array_equal(value, mine["robot_state"][part][key], err_msg=f"{part}.{key}")

    for episode in range(episodes):
        stock.init_state_id = episode
        observation, _ = stock.reset(seed=episode)
        ours.reset(Start("official", index=episode, seed=episode))
        assert_equal_now(observation, "reset")
        for step, action in enumerate(random_actions(episode, length)):
            # robosuite draws into whichever context is current; ours was, after the last observation.
            stock._env.env.sim._render_context_offscreen.gl_ctx.make_current()
            observation, _, _, _, info = stock.step(action)
            success = ours.step(action)
            assert success == info["is_success"]
            if step % 8 == 7 or success:
                assert_equal_now(observation, step)
            if success:
                break
    stock.close()
    ours.close()


@pytest.mark.parametrize(("suite", "task_id"), EXACT_TASKS)
def test_exact_equals_stock(suite, task_id):
    assert_equals_stock(suite, task_id, episodes=1, length=24)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("suite", "task_id"), EXACT_TASKS + MORE_EXACT_TASKS)
def test_exact_equals_stock_over_long_episodes(suite, task_id):
    assert_equals_stock(suite, task_id, episodes=2, length=120)


@pytest.fixture(scope="module")
def simulation():
    simulation = LiberoSimulation("libero_object", 0, cameras=("agentview",), height=SIZE, width=SIZE)
    yield simulation
    simulation.close()


@pytest.fixture(scope="module")
def fast_simulation():
    simulation = LiberoSimulation(
        "libero_object", 0, cameras=("agentview",), height=SIZE, width=SIZE, fidelity="fast"
    )
    yield simulation
    simulation.close()


def test_fast_has_the_physics_of_exact(simulation, fast_simulation):
    start = Start("sampled", seed=11)
    simulation.reset(start)
    fast_simulation.reset(start)
    for action in random_actions(0, 40):
        simulation.step(action)
        fast_simulation.step(action)
    np.testing.assert_allclose(simulation.data.qpos, fast_simulation.data.qpos, atol=1e-6)
    exact, fast = simulation.observe(), fast_simulation.observe()
    np.testing.assert_allclose(
        exact["robot_state"]["eef"]["pos"], fast["robot_state"]["eef"]["pos"], atol=0.005
    )
    difference = np.abs(exact["pixels"]["image"].astype(float) - fast["pixels"]["image"])
    assert difference.mean() < 5.0


@pytest.mark.parametrize("kind", ["official", "sampled", "wide"])
def test_the_same_start_is_the_same_state(simulation, kind):
    states = []
    for seed in (7, 8, 7):
        simulation.reset(Start(kind, seed=seed))
        states.append(np.array(simulation.data.qpos))
    np.testing.assert_array_equal(states[0], states[2])
    assert kind == "official" or not np.array_equal(states[0], states[1])


def test_wide_starts_spread_objects_further_than_sampled_ones(simulation):
    spread = {}
    for kind in ("sampled", "wide"):
        positions = []
        for seed in range(8):
            simulation.reset(Start(kind, seed=seed))
            positions.append(np.array(simulation.data.body("alphabet_soup_1_main").xpos[:2]))
        spread[kind] = np.std(positions, axis=0).mean()
    assert spread["wide"] > 0.015 > spread["sampled"]


def test_observing_does_not_disturb_the_physics(simulation):
    finals = []
    for look in (False, True):
        simulation.reset(Start("official"))
        for action in random_actions(1, 16):
            simulation.step(action)
            if look:
                simulation.observe()
        finals.append(np.array(simulation.data.qpos))
    np.testing.assert_array_equal(*finals)


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.zeros(6), r"expected shape \(7,\), got \(6,\)"), (np.full(7, np.nan), "holds NaN")],
)
def test_a_bad_action_is_refused(simulation, action, message):
    with pytest.raises(ValueError, match=message):
        simulation.step(action)


def test_an_official_index_out_of_range_is_refused(simulation):
    with pytest.raises(ValueError, match="official states 0 to 49, not 50"):
        simulation.reset(Start("official", index=50))


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="unknown LIBERO suite 'libero_11'"):
        LiberoSimulation("libero_11", 0)
    with pytest.raises(ValueError, match="libero_goal has no task 10; its tasks are 0 to 9"):
        LiberoSimulation("libero_goal", 10)
    with pytest.raises(ValueError, match="fidelity: 'quick' is not one of exact, fast"):
        LiberoSimulation("libero_goal", 0, fidelity="quick")
