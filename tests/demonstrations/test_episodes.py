"""One demonstration in the real simulator: what a retry shows."""

import numpy as np
import pytest

from pirl.demonstrations.episodes import demonstrate
from pirl.envs.expert.scene import Scene
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

START = Start("sampled", 0, 8)
OPEN, CLOSED = -1.0, 1.0


@pytest.fixture(scope="module")
def simulation():
    opened = LiberoSimulation(
        "libero_object", 0, cameras=("agentview",), height=16, width=16, fidelity="fast"
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def basket(simulation):
    simulation.reset(START)
    scene = Scene(simulation)
    return scene.position(scene.goals[0][2])


def test_a_retry_begins_with_an_empty_closed_hand_over_the_destination(simulation, basket):
    retry = demonstrate(simulation, START, retry=True)
    aside = retry.states[0, :3] - basket
    fingers = np.abs(retry.states[0, 6:]).sum()
    assert np.linalg.norm(aside[:2]) < 0.1
    assert 0.03 < aside[2] < 0.35
    assert fingers < 0.01


def test_a_retry_opens_the_hand_and_does_the_task(simulation, basket):
    retry, plain = demonstrate(simulation, START, retry=True), demonstrate(simulation, START)
    assert retry.success
    assert plain.success
    assert np.linalg.norm((plain.states[0, :3] - basket)[:2]) > 0.1
    assert retry.actions[0, 6] == OPEN
    assert retry.actions[:, 6].max() == CLOSED
