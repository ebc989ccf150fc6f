"""The learner's intake: every episode counts once, faults are counted and dropped."""

import math
from queue import Queue

import pytest
import torch
from lerobot.rl.algorithms.configs import TrainingStats
from lerobot.rl.buffer import ReplayBuffer
from lerobot.transport.utils import python_object_to_bytes, transitions_to_bytes

from pirl.runtime.ingest import TAKE_AT_MOST, Intake, IntakeCounters, NotFiniteStop
from pirl.runtime.learner import check_finite
from tests.runtime.transitions import make_transition


def make_episode(actor, episode, steps=(8, 3), success=True, **changes):
    transitions = []
    for index, executed in enumerate(steps):
        last = index == len(steps) - 1
        numbers = {"actor_id": actor, "episode_id": episode, "executed_steps": executed}
        transitions.append(
            make_transition(
                **{"reward": float(last and success)} | changes,
                done=last and success,
                truncated=last and not success,
                complementary_info={key: torch.tensor([float(value)]) for key, value in numbers.items()},
            )
        )
    return transitions_to_bytes(transitions)


def make_interaction(task_id=0, success=True):
    return python_object_to_bytes(
        {
            "actor_id": 0,
            "task_id": task_id,
            "success": success,
            "inference_s": 1.0,
            "waiting_s": 2.0,
            "lost_episodes": 0,
        }
    )


@pytest.fixture
def intake():
    buffer = ReplayBuffer(capacity=100, device="cpu", state_keys=["observation.state"], use_drq=False)
    return Intake(Queue(), Queue(), buffer, window=2)


def test_counts_steps_episodes_and_recent_success(intake):
    assert math.isnan(intake.recent_success_rate)
    for episode, success in enumerate([True, False, True]):
        intake.transition_queue.put(make_episode(0, episode, success=success))
    assert intake.take(timeout=0.0)
    assert intake.counters.env_steps == 33
    assert (intake.counters.episodes, intake.counters.successes) == (3, 2)
    assert intake.recent_success_rate == 0.5
    assert len(intake.buffer) == 6


def test_success_is_told_task_by_task(intake):
    for task_id, success in [(3, True), (0, False), (3, False), (3, True), (3, True)]:
        intake.interaction_queue.put(make_interaction(task_id, success))
    intake.take(timeout=0.0)
    assert intake.success_rate_of_task == {0: 0.0, 3: 1.0}  # a window of two


def test_success_is_reached_by_a_whole_window_only(intake):
    reached = []
    for episode, success in enumerate([True, True, False]):
        intake.transition_queue.put(make_episode(0, episode, success=success))
        intake.take(timeout=0.0)
        reached.append((intake.succeeds(0.9), intake.succeeds(0.5), intake.succeeds(None)))
    assert reached == [(False, False, False), (True, True, False), (False, True, False)]


def test_a_repeated_episode_is_dropped(intake):
    for actor, episode in [(0, 0), (1, 0), (0, 0)]:
        intake.transition_queue.put(make_episode(actor, episode))
    intake.take(timeout=0.0)
    assert intake.counters.repeated_episodes == 1
    assert intake.counters.episodes == 2


def test_gaps_are_counted_within_an_incarnation(intake):
    for episode in (3, 4, 6, 100_000, 100_001):
        intake.transition_queue.put(make_episode(0, episode))
    intake.transition_queue.put(make_episode(1, 9))
    intake.take(timeout=0.0)
    assert intake.missing_episodes == 1


def test_refused_messages_hurt_nobody_else(intake):
    intake.transition_queue.put(b"noise")
    intake.transition_queue.put(make_episode(0, 0))
    intake.interaction_queue.put(b"noise")
    intake.interaction_queue.put(make_interaction())
    intake.take(timeout=0.0)
    assert intake.counters.refused_messages == 2
    assert intake.counters.episodes == 1
    assert intake.actor_totals[0]["waiting_s"] == 2.0


NOT_FINITE = [
    {"reward": float("nan")},
    {"action": torch.full((1, 2), float("inf"))},
    {"state": {"observation.state": torch.full((1, 3), float("nan"))}},
]


@pytest.mark.parametrize("changes", NOT_FINITE)
def test_an_episode_that_is_not_finite_is_left_out_and_counted(intake, changes):
    intake.transition_queue.put(make_episode(0, 0, **changes))
    intake.transition_queue.put(make_episode(0, 1))
    intake.take(timeout=0.0)
    assert (intake.counters.not_finite_episodes, intake.counters.refused_messages) == (1, 0)
    assert intake.counters.episodes == 1
    assert len(intake.buffer) == 2


@pytest.mark.parametrize("changes", NOT_FINITE)
def test_a_run_may_stop_at_an_episode_that_is_not_finite(intake, changes):
    intake.not_finite = "stop"
    intake.transition_queue.put(make_episode(0, 0, **changes))
    with pytest.raises(NotFiniteStop, match="not finite"):
        intake.take(timeout=0.0)
    assert (intake.counters.not_finite_episodes, len(intake.buffer)) == (1, 0)


@pytest.mark.parametrize(
    ("loss", "skipped", "not_finite", "stops", "counted"),
    [
        (1.0, 0.0, "stop", False, 0),
        (1.0, None, "stop", False, 0),
        (1.0, 0.5, "skip", False, 1),  # PI-RL left half of its minibatches out
        (float("nan"), 1.0, "skip", False, 1),
        (1.0, 0.5, "stop", True, 1),
        (float("nan"), None, "skip", True, 1),  # SAC has taken the step: its weights are lost
    ],
)
def test_updates_that_are_not_finite_are_counted_or_stop_the_run(loss, skipped, not_finite, stops, counted):
    counters, extra = IntakeCounters(), {} if skipped is None else {"grad_norm/skipped": skipped}
    stats = TrainingStats(losses={"loss/policy": loss}, extra=extra)
    if stops:
        with pytest.raises(NotFiniteStop, match="the last checkpoint is good"):
            check_finite(stats, counters, not_finite)
    else:
        check_finite(stats, counters, not_finite)
    assert counters.not_finite_updates == counted


def test_actors_that_refill_the_queue_do_not_keep_the_learner_from_updating(intake):
    class Endless(Queue):
        """As if an actor put the next episode there as soon as one is taken."""

        episode = 0

        def get(self, block=True, timeout=None):
            self.episode += 1
            return make_episode(0, self.episode)

    intake.transition_queue = Endless()
    assert intake.take(timeout=0.0)
    assert intake.counters.episodes == TAKE_AT_MOST


def test_what_is_more_than_enough_stays_in_the_queue(intake):
    for episode in range(5):
        intake.transition_queue.put(make_episode(0, episode))
    intake.take(0.0, enough=lambda: intake.counters.episodes >= 2)
    assert (intake.counters.episodes, intake.transition_queue.qsize()) == (2, 3)


def test_nothing_is_taken_beyond_the_budget(intake):
    for episode in range(4):
        intake.transition_queue.put(make_episode(0, episode))
    intake.take(timeout=0.0, budget=20)
    assert intake.counters.env_steps == 22
    assert not intake.take(timeout=0.0, budget=20)
    assert intake.transition_queue.qsize() == 2


def test_an_empty_queue_is_no_news(intake):
    assert not intake.take(timeout=0.01)
