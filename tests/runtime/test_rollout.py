"""Which task and start an actor's next episode gets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pirl.envs.starts import Start
from pirl.runtime.rollout import chance, cycle_starts

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
