"""On-policy reading of the replay buffer: complete, in order, each once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lerobot.rl.buffer import ReplayBuffer

from pirl.algorithms.pi_rl.rollouts import RolloutReader, start_groups


def add_episode(buffer, episode, length, version=0, finished=True):
    for index in range(length):
        last = finished and index == length - 1
        buffer.add(
            state={"observation.state": torch.tensor([[float(episode), float(index)]])},
            action=torch.tensor([[float(index)]]),
            reward=float(last),
            next_state={"observation.state": torch.tensor([[float(episode), index + 1.0]])},
            done=last and episode % 2 == 0,
            truncated=last and episode % 2 == 1,
            complementary_info={
                "policy_version": torch.tensor([float(version)]),
                "episode_id": torch.tensor([float(episode)]),
            },
        )


def make_buffer(capacity=16):
    return ReplayBuffer(capacity, device="cpu", use_drq=False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_every_episode_is_read_once_and_in_order_across_the_wrap(lengths):
    buffer, seen = make_buffer(), []
    reader = RolloutReader(buffer)
    for episode, length in enumerate(lengths):
        add_episode(buffer, episode, length)
        reader.poll(0, 0)
        if episode % 2:
            batch = reader.take()
            seen += list(
                zip(
                    batch["complementary_info"]["episode_id"].tolist(),
                    batch["action"].flatten().tolist(),
                    strict=True,
                )
            )
    if len(lengths) % 2:
        batch = reader.take()
        seen += list(
            zip(
                batch["complementary_info"]["episode_id"].tolist(),
                batch["action"].flatten().tolist(),
                strict=True,
            )
        )
    assert seen == [(e, i) for e, length in enumerate(lengths) for i in range(length)]


def test_unfinished_episodes_wait():
    buffer = make_buffer()
    reader = RolloutReader(buffer)
    assert reader.poll(0, 0) == (0, 0)
    add_episode(buffer, 0, 3, finished=False)
    assert reader.poll(0, 0) == (0, 0)
    with pytest.raises(LookupError, match="rollout_ready"):
        reader.take()
    add_episode(buffer, 0, 1)
    assert reader.poll(0, 0) == (1, 4)


def test_old_episodes_are_dropped_and_counted():
    buffer = make_buffer()
    reader = RolloutReader(buffer)
    add_episode(buffer, 0, 2, version=0)
    add_episode(buffer, 1, 2, version=3)
    assert reader.poll(2, 3) == (1, 2)
    assert reader.dropped == 1
    assert reader.take()["complementary_info"]["episode_id"].tolist() == [1, 1]


def test_episodes_of_lost_updates_are_dropped_and_counted():
    buffer = make_buffer()
    reader = RolloutReader(buffer)
    add_episode(buffer, 0, 2, version=4)
    add_episode(buffer, 1, 1, version=2, finished=False)
    add_episode(buffer, 1, 2, version=3)
    add_episode(buffer, 2, 2, version=2)
    assert reader.poll(1, 2) == (1, 2)
    assert reader.dropped == 2
    assert reader.take()["complementary_info"]["episode_id"].tolist() == [2, 2]


def test_overwritten_rollouts_are_an_error():
    buffer = make_buffer(8)
    reader = RolloutReader(buffer)
    add_episode(buffer, 0, 6)
    reader.poll(0, 0)
    add_episode(buffer, 1, 6)
    with pytest.raises(RuntimeError, match=r"buffer\.online_capacity: 8"):
        reader.poll(0, 0)


def test_groups_are_episodes_from_equal_first_states():
    buffer = make_buffer()
    for start in (0, 2, 0):
        add_episode(buffer, start, 2)
    reader = RolloutReader(buffer)
    reader.poll(0, 0)
    batch = reader.take()
    groups = start_groups(batch, (batch["done"] + batch["truncated"]) > 0)
    assert groups[0] == groups[2] != groups[1]


def test_next_states_are_those_after_the_decision():
    buffer = make_buffer()
    add_episode(buffer, 1, 3)
    reader = RolloutReader(buffer)
    reader.poll(0, 0)
    assert reader.take()["next_state"]["observation.state"][:, 1].tolist() == [1.0, 2.0, 3.0]
