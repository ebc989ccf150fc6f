"""Postures are the expert's, and an arm put into them is where it was, with what it held."""

import numpy as np
import pytest

from pirl.demonstrations.postures import Hand, Puppet, expert_postures
from pirl.envs.expert.skills import holding
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start

STILL = np.zeros(7)


@pytest.fixture(scope="module")
def simulation():
    opened = LiberoSimulation("libero_object", 0, cameras=(), fidelity="fast")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def postures(simulation):
    return expert_postures(simulation, 3)


@pytest.fixture
def puppet(simulation):
    simulation.reset(Start("wide", seed=99))
    return Puppet(simulation)


def test_the_expert_takes_many_postures_of_every_kind(postures):
    assert all(len(postures[hand]) > 20 for hand in Hand)
    assert len(postures[Hand.EMPTY]) == len(postures[Hand.HOLDING])


def test_those_nearest_to_where_the_hand_goes_come_first(postures):
    for of_hand in postures.values():
        distances = [np.linalg.norm(posture.offset) for posture in of_hand]
        assert distances == sorted(distances) and distances[0] < 0.12 < distances[-1]


def test_an_open_hand_is_put_as_near_to_the_object_as_the_expert_was(puppet, postures):
    posture = postures[Hand.OPEN][-1]
    puppet.take(posture, STILL)
    turned, target = puppet.scene.grip_rotation, puppet.goes_to(Hand.OPEN) + posture.offset
    assert np.linalg.norm(puppet.scene.grip_position - target) > 0.01
    puppet.take(posture, STILL, target)
    np.testing.assert_allclose(puppet.scene.grip_position, target, atol=1e-3)
    np.testing.assert_allclose(puppet.scene.grip_rotation, turned, atol=0.02)


def test_a_holding_hand_takes_the_object_along(puppet, postures):
    posture = postures[Hand.HOLDING][-1]
    assert not holding(puppet.scene, puppet.subject)
    wanted = posture.offset + np.array([0.02, 0.0, 0.0])
    puppet.take(posture, STILL, puppet.goes_to(Hand.HOLDING) + wanted)
    assert holding(puppet.scene, puppet.subject)
    taken = puppet.posture(Hand.HOLDING)
    for was, now in zip(posture.held, taken.held, strict=True):
        np.testing.assert_allclose(now, was, atol=1e-6)
    np.testing.assert_allclose(taken.offset, wanted, atol=1e-3)


def test_an_empty_hand_is_shut_and_leaves_the_object_where_it_is(puppet, postures):
    before = puppet.scene.position(puppet.subject).copy()
    puppet.take(postures[Hand.EMPTY][-1], STILL)
    assert puppet.scene.finger_gap < 0.01
    np.testing.assert_array_equal(puppet.scene.position(puppet.subject), before)
    assert not holding(puppet.scene, puppet.subject)
