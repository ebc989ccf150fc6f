"""Which task and start an actor's next episode gets, and what an episode holds."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lerobot.envs.configs import LiberoEnv
from lerobot.transport.utils import transitions_to_bytes

from pirl.algorithms import PiRLConfig
from pirl.algorithms.factory import make_algorithm
from pirl.envs.starts import Start
from pirl.envs.workers import EnvWorkers
from pirl.policies.processing import PolicyProcessing
from pirl.policies.tokenizer import TOKENIZER_DIR
from pirl.runtime.messages import decode_transitions
from pirl.runtime.rollout import EpisodeCollector, chance, cycle_starts
from tests.policies.tiny import FLORENCE, make_xvla

TASKS = [("libero_object", 0), ("libero_object", 3), ("libero_object", 9)]


def first(count: int, actor: int, actors: int, repeats: int) -> list[tuple]:
    pairs = cycle_starts(TASKS, "wide", 100, actor, actors, repeats)
    return [(task, start.seed) for task, start in itertools.islice(pairs, count)]


@given(actors=st.integers(1, 4), repeats=st.integers(1, 5), rounds=st.integers(1, 4))
def test_every_start_is_played_as_often_as_asked_for(actors, repeats, rounds):
    count = rounds * repeats  # whole groups over all actors
    played = [pair for actor in range(actors) for pair in first(count, actor, actors, repeats)]
    tasks = {seed: task for task, seed in played}
    assert sorted(seed for _, seed in played) == sorted(
        seed for seed in range(100, 100 + rounds * actors) for _ in range(repeats)
    )
    assert all(task == tasks[seed] == TASKS[(seed - 100) % 3] for task, seed in played)


def test_one_actor_plays_a_group_in_a_row():
    assert first(5, 0, 1, 2) == [
        (TASKS[0], 100),
        (TASKS[0], 100),
        (TASKS[1], 101),
        (TASKS[1], 101),
        (TASKS[2], 102),
    ]


@given(first=st.integers(0, 10**9), episodes=st.integers(20, 300), share=st.floats(0.1, 0.9))
def test_a_share_of_successive_episodes_has_chances_below_it(first, episodes, share):
    chances = [chance(Start("wide", seed=first + index)) for index in range(episodes)]
    assert all(0 <= number < 1 for number in chances)
    assert abs(sum(number < share for number in chances) / episodes - share) < 0.15
    of_one_task = chances[::3]
    assert abs(sum(number < share for number in of_one_task) / len(of_one_task) - share) < 0.3


@pytest.fixture(scope="module")
def episode():
    """One of three decisions, by a random policy in the simulator."""
    text = FLORENCE["text_config"] | {"vocab_size": 256}
    policy = make_xvla(tokenizer_name=str(TOKENIZER_DIR), florence_config=FLORENCE | {"text_config": text})
    algorithm = make_algorithm(PiRLConfig(), policy)
    steps = algorithm.chunk_size
    workers = EnvWorkers(1, TASKS[:1], chunk_size=steps, max_steps=3 * steps, height=32, width=32)
    try:
        collector = EpisodeCollector(
            algorithm,
            PolicyProcessing(policy.config, LiberoEnv()),
            workers,
            cycle_starts(TASKS[:1], "wide", 0, 0, 1),
        )
        (episode,) = collector.collect(1, policy_version=0)
    finally:
        workers.close()
    return episode


def test_what_a_decision_led_to_is_what_the_next_one_sees(episode):
    assert [transition["truncated"] for transition in episode.transitions] == [False, False, True]
    for earlier, later in itertools.pairwise(episode.transitions):
        assert earlier["next_state"].keys() == later["state"].keys()
        for key, value in later["state"].items():
            assert torch.equal(earlier["next_state"][key], value)
    first, *_, last = (transition["next_state"] for transition in episode.transitions)
    assert not torch.equal(first["observation.images.image"], last["observation.images.image"])


def test_a_message_holds_each_picture_once(episode):
    message = transitions_to_bytes(episode.transitions)
    pictures = 2 * (len(episode.transitions) + 1)
    bytes_each = episode.transitions[0]["state"]["observation.images.image"].numel() * 4
    assert len(message) < 1.25 * pictures * bytes_each
    for sent, received in zip(episode.transitions, decode_transitions(message), strict=True):
        for group in ("state", "next_state"):
            assert all(torch.equal(value, received[group][key]) for key, value in sent[group].items())
