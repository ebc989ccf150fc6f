"""Blind replay: a demonstration succeeds from its own start, and is played whatever is seen."""

import numpy as np
import pytest

from pirl.demonstrations.targets import record_targets
from pirl.evaluation import plan as plans
from pirl.evaluation.evaluator import read_records
from pirl.evaluation.plan import official_episodes, seeded_episodes
from pirl.evaluation.replay import LONGEST, Replay
from pirl.evaluation.run import final_test
from pirl.experiment.config import PROJECT_ROOT, load_experiment

TASK = ("libero_object", 0)
SEED = 5_000_000


@pytest.fixture(scope="module")
def replay():
    return Replay(record_targets([TASK], 1, SEED, workers=1))


def episode(seed=0):
    (planned,) = seeded_episodes(*TASK[:1], [TASK[1]], 1, "sampled", seed)
    return planned


def test_demonstrations_take_turns_and_end_in_standing_still():
    short, long = np.zeros((3, 7), np.float32), np.ones((5, 7), np.float32)
    long[-1] = 2.0
    replay = Replay({TASK: [short, long]})
    assert replay.act(episode(4), {}).shape == replay.act(episode(5), {}).shape == (LONGEST, 7)
    assert not replay.act(episode(4), {}).any()
    np.testing.assert_array_equal(replay.act(episode(5), {})[:5], long)
    np.testing.assert_array_equal(replay.act(episode(5), {})[5:], 2.0)


def test_files_give_back_what_was_saved(tmp_path):
    demonstrations = {("libero_goal", 8): [np.ones((4, 7)), np.zeros((2, 7))], TASK: [np.full((3, 7), 5.0)]}
    Replay(demonstrations).save(tmp_path)
    loaded = Replay.load(tmp_path).demonstrations
    assert loaded.keys() == demonstrations.keys()
    for task, actions in demonstrations.items():
        assert [a.tolist() for a in loaded[task]] == [a.tolist() for a in actions]


def test_replay_is_tested_like_a_policy_where_there_is_a_demonstration(replay, tmp_path):
    experiment = load_experiment(PROJECT_ROOT / "configs" / "smoke.yaml")
    experiment["evaluation"]["max_steps"] = None
    (tmp_path / "policy").mkdir()
    replay.save(tmp_path / "policy")
    plan = [episode(SEED), *official_episodes("libero_object", [1], 1)]
    summary = final_test(experiment, tmp_path, "smoke", plan, tmp_path / "videos")
    suite = summary["suites"]["libero_object"]
    assert (suite["successes"], suite["episodes"], list(suite["tasks"])) == (1, 1, ["0"])
    assert summary["protocol"]["control_mode"] == "absolute"
    assert "blind replay" in summary["protocol"]["sampler"]
    (record,) = read_records(tmp_path / "smoke_episodes.jsonl")
    assert record.success and record.start_seed == SEED
    nothing = final_test(experiment, tmp_path, "suites", plan[1:])
    assert (nothing["suites"], nothing["average_success_rate"]) == ({}, None)


def test_every_tested_task_is_demonstrated():
    experiment = load_experiment(PROJECT_ROOT / "configs" / "default.yaml")
    tasks = plans.tested_tasks(experiment)
    assert {("libero_object", task_id) for task_id in experiment["task_ids"]} < set(tasks)
    assert {suite for suite, _ in tasks} == set(experiment["suite_eval"]["suites"])
