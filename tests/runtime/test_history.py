"""A run's curve goes on after an interruption: no gap, no repeat, no number that is none."""

import json
from queue import Queue
from types import SimpleNamespace

import pytest

from pirl.runtime.history import CURVE_FILE, SUMMARY_FILE, TrainingHistory
from pirl.runtime.ingest import Intake, IntakeCounters


@pytest.fixture
def config(tmp_path):
    return SimpleNamespace(
        output_dir=tmp_path,
        tracking_run=None,
        recipe="pi_rl_flow_sde",
        seed=0,
        algorithm=SimpleNamespace(type="pi_rl", variant="flow_sde"),
        policy=SimpleNamespace(type="xvla"),
        budget=SimpleNamespace(env_steps=100),
    )


def intake_with(episodes: int, recent: list[bool]) -> Intake:
    counters = IntakeCounters(env_steps=10 * episodes, episodes=episodes, recent=recent)
    return Intake(Queue(), Queue(), None, counters=counters)


def curve(config) -> list[dict]:
    return [json.loads(line) for line in (config.output_dir / CURVE_FILE).read_text().splitlines()]


def test_a_resumed_curve_goes_on_from_the_checkpoint(config):
    history = TrainingHistory.open(config, IntakeCounters())
    history.note(intake_with(0, []), 0)
    for episodes in (1, 2, 3):  # the third is lost with the process that crashes
        history.note(intake_with(episodes, [True] * episodes), 0)
    resumed = intake_with(2, [True, True])
    history = TrainingHistory.open(config, resumed.counters)
    history.note(resumed, 0)
    history.note(intake_with(3, [True, True, False]), 0)
    assert [point["env_steps"] for point in curve(config)] == [10, 20, 30]
    assert [point["success_rate"] for point in curve(config)] == [1.0, 1.0, pytest.approx(2 / 3)]


def test_a_checkpoint_without_recent_outcomes_still_ends_in_a_summary(config):
    """Checkpoints of earlier versions lack the outcomes; a NaN in the curve broke the summary."""
    resumed = intake_with(2, [])
    history = TrainingHistory.open(config, resumed.counters)
    history.note(resumed, 0)
    history.finish(resumed, 0, 0.0, 0.0)
    assert json.loads((config.output_dir / SUMMARY_FILE).read_text())["curve"] == []
