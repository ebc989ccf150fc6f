"""The simulation: fidelities agree, starts repeat, looking changes nothing, bad input is refused."""

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

SIZE = 64


def random_actions(seed: int, length: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(0.0, 0.5, (length, 7)), -1.0, 1.0)


def build(fidelity, task=("libero_object", 0), **settings):
    return LiberoSimulation(*task, **{"height": SIZE, "width": SIZE, "fidelity": fidelity, **settings})


def expert_episode(simulation: LiberoSimulation, start: Start) -> tuple[bool, list[np.ndarray]]:
    simulation.reset(start)
    expert, actions = ScriptedExpert(simulation), []
    while len(actions) < simulation.task.max_steps and not expert.done:
        actions.append(expert.act())
        if simulation.step(actions[-1]):
            return True, actions
    return False, actions


@pytest.fixture(scope="module")
def exact():
    simulation = build("exact")
    yield simulation
    simulation.close()


@pytest.fixture(scope="module")
def fast():
    simulation = build("fast")
    yield simulation
    simulation.close()


def test_fast_differs_from_exact_by_rounding(exact, fast):
    success, actions = expert_episode(exact, Start("official"))
    assert success
    exact.reset(Start("official"))
    fast.reset(Start("official"))
    differences = []
    for action in actions:
        assert exact.step(action) == fast.step(action)
        differences.append(np.abs(exact.data.qpos - fast.data.qpos).max())
    assert differences[9] < 1e-12
    assert max(differences) < 1e-3  # contacts amplify rounding


def test_fast_pictures_show_the_same(exact, fast):
    exact.reset(Start("official"))
    fast.reset(Start("official"))
    ours, simple = exact.observe(), fast.observe()
    for name, image in ours["pixels"].items():
        assert image.shape == (SIZE, SIZE, 3)
        assert np.abs(image.astype(float) - simple["pixels"][name]).mean() < 6.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_expert_succeeds_alike_in_both_fidelities():
    outcomes = {}
    for fidelity in ("exact", "fast"):
        simulation = build(fidelity)
        outcomes[fidelity] = [expert_episode(simulation, Start("official", index))[0] for index in range(50)]
        simulation.close()
    assert outcomes["exact"] == outcomes["fast"]


def test_pictures_leave_out_only_what_cannot_be_seen(monkeypatch):
    from pirl.envs.rendering import Renderer

    simulation = build("exact", ("libero_goal", 0))  # its shiny things mirror the robot
    simulation.reset(Start("official", seed=7))
    for action in random_actions(0, 6):
        simulation.step(action)
        culled = simulation.observe()["pixels"]
        with monkeypatch.context() as patch:
            patch.setattr(Renderer, "_in_view", lambda self, _: np.ones(self._model.ngeom, dtype=bool))
            complete = simulation.observe()["pixels"]
        for name in complete:
            np.testing.assert_array_equal(culled[name], complete[name])
    simulation.close()


def test_two_tasks_in_one_process_keep_their_pictures(fast):
    fast.reset(Start("official"))
    alone = fast.observe()["pixels"]["image"]
    other = build("fast", ("libero_object", 3))
    other.reset(Start("official"))
    assert not np.array_equal(other.observe()["pixels"]["image"], alone)
    np.testing.assert_array_equal(fast.observe()["pixels"]["image"], alone)
    other.close()
    np.testing.assert_array_equal(fast.observe()["pixels"]["image"], alone)


@pytest.mark.parametrize("kind", ["official", "sampled", "wide"])
def test_the_same_start_is_the_same_state(fast, kind):
    states = []
    for seed in (7, 8, 7):
        fast.reset(Start(kind, seed=seed))
        states.append(np.array(fast.data.qpos))
    np.testing.assert_array_equal(states[0], states[2])
    assert kind == "official" or not np.array_equal(states[0], states[1])


def test_an_episode_does_not_depend_on_the_one_before(fast):
    finals = []
    for _ in range(2):
        fast.reset(Start("official", index=2))
        for action in random_actions(1, 8):
            fast.step(action)
        finals.append(np.array(fast.data.qpos))
        for _ in range(8):
            fast.step(np.ones(7))  # closes the gripper
    np.testing.assert_array_equal(*finals)


MEMORY_OF_TASKS = """
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

simulations = []
for task_id in (0, 3):
    simulations.append(LiberoSimulation("libero_object", task_id, fidelity="fast", height=64, width=64))
    simulations[-1].reset(Start("sampled", seed=0))
    simulations[-1].observe()
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["RssAnon"].split()[0]) // 1024)
"""


def test_a_further_task_costs_half_a_gibibyte_at_most():
    """Building a scene frees as much as it keeps; without giving that back a task costs 650 MiB."""
    ran = subprocess.run([sys.executable, "-c", MEMORY_OF_TASKS], capture_output=True, text=True, check=True)
    one, two = map(int, ran.stdout.split()[-2:])
    assert two - one < 512


def test_looking_does_not_disturb_the_physics(fast):
    finals = []
    for look in (False, True):
        fast.reset(Start("official"))
        for action in random_actions(1, 16):
            fast.step(action)
            if look:
                fast.observe()
        finals.append(np.array(fast.data.qpos))
    np.testing.assert_array_equal(*finals)


def test_absolute_control_goes_where_it_is_told():
    simulation = build("fast", control_mode="absolute", cameras=())
    simulation.reset(Start("official"))
    state = simulation.observe(images=False)["robot_state"]["eef"]
    axis_angle = np.zeros(3)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, state["mat"].ravel())
    mujoco.mju_quat2Vel(axis_angle, quaternion, 1.0)
    target = state["pos"] + [0.05, 0.02, -0.03]
    for _ in range(30):
        simulation.step(np.concatenate([target, axis_angle, [-1.0]]))
    reached = simulation.observe(images=False)["robot_state"]["eef"]["pos"]
    np.testing.assert_allclose(reached, target, atol=0.01)
    simulation.close()


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.zeros(6), r"expected shape \(7,\), got \(6,\)"), (np.full(7, np.nan), "holds NaN")],
)
def test_a_bad_action_is_refused(fast, action, message):
    with pytest.raises(ValueError, match=message):
        fast.step(action)


def test_an_official_index_out_of_range_is_refused(fast):
    with pytest.raises(ValueError, match="official states 0 to 49, not 50"):
        fast.reset(Start("official", index=50))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "libero_11"}, "unknown LIBERO suite 'libero_11'"),
        ({"task_id": 10}, "libero_goal has no task 10; its tasks are 0 to 9"),
        ({"fidelity": "quick"}, "fidelity: 'quick' is not one of exact, fast"),
        ({"control_mode": "joint"}, "control_mode: 'joint' is not one of relative, absolute"),
        ({"cameras": ("frontview",)}, "cameras: 'frontview' is not one of"),
        ({"height": 0}, "too small"),
    ],
)
def test_unknown_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LiberoSimulation(**{"suite": "libero_goal", "task_id": 0, **arguments})
