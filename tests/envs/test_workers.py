"""Workers: real processes, answers as they come, and a death that is noticed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from pirl.envs.starts import Start
from pirl.envs.workers import EnvWorkers

TASK = ("libero_object", 0)


@pytest.fixture(scope="module")
def workers():
    workers = EnvWorkers(
        1, [TASK], chunk_size=4, cameras=("agentview",), height=64, width=64, fidelity="fast"
    )
    yield workers
    workers.close()


def answer(workers):
    results = []
    while not results:
        results = workers.collect(timeout=60.0)
    return results[0]


def test_an_episode_in_another_process(workers):
    workers.reset(0, TASK, Start("official"))
    result = answer(workers)
    assert (result.event, result.observation["pixels"]["image"].shape) == ("reset", (64, 64, 3))
    workers.step(0, np.zeros((4, 7)))
    result = answer(workers)
    assert (result.event, result.info["executed_steps"], result.reward) == ("step", 4, 0.0)


def test_a_refused_command_is_told_and_the_worker_lives_on(workers):
    workers.step(0, np.zeros((4, 6)))
    with pytest.raises(ValueError, match="actions: expected shape"):
        answer(workers)
    workers.reset(0, TASK, Start("official"))
    assert answer(workers).event == "reset"


def test_a_killed_worker_is_lost_and_replaced(workers):
    workers.step(0, np.zeros((4, 7)))
    os.kill(workers._workers[0][1].pid, signal.SIGKILL)
    result = answer(workers)
    while result.event != "lost":
        result = answer(workers)
    assert result.error is not None
    workers.reset(0, TASK, Start("official"))
    assert answer(workers).event == "reset"


def test_a_worker_imports_neither_torch_nor_lerobot(workers):
    maps = Path(f"/proc/{workers._workers[0][1].pid}/maps")
    if not maps.exists():
        pytest.skip("reads Linux's /proc")
    assert "libtorch" not in maps.read_text()


def test_no_worker_is_refused():
    with pytest.raises(ValueError, match="num_workers: 0 is less than one"):
        EnvWorkers(0, [TASK], chunk_size=4)


def test_a_worker_that_cannot_live_is_given_up():
    workers = EnvWorkers(1, [TASK], chunk_size=4, no_such_setting=1)
    workers.reset(0, TASK, Start("official"))
    with pytest.raises(RuntimeError, match="worker 0 died 3 times in a row"):
        for _ in range(3):
            answer(workers)
            workers.reset(0, TASK, Start("official"))
    workers.close()
