"""Starts: named, serialisable, and distributed as they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pirl.envs.assets import configure_libero
from pirl.envs.expert import ScriptedExpert
from pirl.envs.initial_states import load_official_states
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import START_KINDS, Start
from pirl.envs.tasks import SUITES, get_task, num_tasks

ONE_PER_SUITE = [("libero_object", 3), ("libero_spatial", 4), ("libero_goal", 8), ("libero_10", 9)]
TEN_TASKS = [
    *ONE_PER_SUITE,
    ("libero_object", 0),
    ("libero_object", 6),
    ("libero_spatial", 7),
    ("libero_goal", 2),
    ("libero_10", 3),
    ("libero_10", 4),
]


@given(st.builds(Start, st.sampled_from(sorted(START_KINDS)), st.integers(0, 49), st.integers(0, 2**31)))
def test_starts_survive_json(start):
    assert Start.from_dict(start.to_dict()) == start


@pytest.mark.parametrize("values", [{"kind": "any"}, {"kind": "sampled", "seed": -1}])
def test_nonsense_is_refused(values):
    with pytest.raises(ValueError):
        Start(**values)


def test_tasks_are_liberos_own():
    configure_libero()  # or LIBERO asks for its folders at its first import
    from libero.libero import benchmark

    for suite in SUITES:
        theirs = benchmark.get_benchmark_dict()[suite]()
        assert num_tasks(suite) == theirs.get_num_tasks()
        for task_id in range(num_tasks(suite)):
            ours, task = get_task(suite, task_id), theirs.get_task(task_id)
            assert ours.language == task.language
            assert ours.bddl_file.endswith(f"/{task.problem_folder}/{task.bddl_file}")
            assert ours.init_states_file.endswith(f"/{task.problem_folder}/{task.init_states_file}")


def test_official_states_are_read_as_torch_reads_them():
    import torch

    for suite in SUITES[:4]:
        task = get_task(suite, 3)
        theirs = torch.load(task.init_states_file, weights_only=False)
        np.testing.assert_array_equal(load_official_states(task), theirs)


def assert_same_distribution(suite: str, task_id: int, draws: int) -> None:
    """Means, spreads and bounds of unsettled object positions and joint angles."""
    simulation = LiberoSimulation(suite, task_id, cameras=(), settle_steps=0)
    official = simulation._official_states[:, 1 : 1 + simulation.model.nq]
    sampled = []
    for seed in range(draws):
        simulation.reset(Start("sampled", seed=seed))
        sampled.append(simulation.data.qpos.copy())
    model, drawn = simulation.model, np.array(sampled)
    positions = [
        address + offset
        for joint in range(model.njnt)
        for address in [model.jnt_qposadr[joint]]
        for offset in range(3 if model.jnt_type[joint] == 0 else 1)
    ]
    simulation.close()
    theirs, ours = official[:, positions], drawn[:, positions]
    spread = np.maximum(theirs.std(axis=0), ours.std(axis=0))
    error = np.sqrt(1 / len(ours) + 1 / len(theirs))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 5 * error * spread + 1e-3).all()
    varied = spread > 2e-3
    ratio = ours.std(axis=0)[varied] / np.maximum(theirs.std(axis=0)[varied], 1e-6)
    assert (ratio > 0.5).all()
    assert (ratio < 2.0).all()
    margin = 3 * spread + 1e-3
    assert (ours.min(axis=0) > theirs.min(axis=0) - margin).all()
    assert (ours.max(axis=0) < theirs.max(axis=0) + margin).all()


@pytest.mark.parametrize(("suite", "task_id"), ONE_PER_SUITE)
def test_sampled_starts_are_distributed_as_the_official_ones(suite, task_id):
    assert_same_distribution(suite, task_id, draws=30)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("suite", "task_id"), TEN_TASKS)
def test_sampled_starts_are_distributed_as_the_official_ones_in_ten_tasks(suite, task_id):
    assert_same_distribution(suite, task_id, draws=50)


@pytest.fixture(scope="module")
def simulation():
    simulation = LiberoSimulation("libero_object", 0, cameras=(), fidelity="fast")
    yield simulation
    simulation.close()


def test_wide_starts_spread_objects_further_than_sampled_ones(simulation):
    spread = {}
    for kind in ("sampled", "wide"):
        positions = []
        for seed in range(8):
            simulation.reset(Start(kind, seed=seed))
            positions.append(simulation.data.body("alphabet_soup_1_main").xpos[:2].copy())
        spread[kind] = np.std(positions, axis=0).mean()
    assert spread["wide"] > 0.015 > spread["sampled"]


def test_wide_starts_are_solved_by_the_expert_and_not_by_replay(simulation):
    def succeeds(start, act):
        simulation.reset(start)
        return any(simulation.step(action) for action in act(simulation))

    def feedback(simulation):
        expert = ScriptedExpert(simulation)
        while not expert.done:
            yield expert.act()

    recorded = []

    def record(simulation):
        for action in feedback(simulation):
            recorded.append(action)
            yield action

    assert succeeds(Start("official"), record)
    starts = [Start("wide", seed=seed) for seed in range(6)]
    assert all(succeeds(start, feedback) for start in starts)
    assert sum(succeeds(start, lambda _: iter(recorded)) for start in starts) <= len(starts) // 3
