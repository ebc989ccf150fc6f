"""Workers: real processes, answers as they come, and a death that is noticed."""

import os
import signal

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
