"""Plans name every episode of a protocol."""

from collections import Counter

import pytest
import yaml

from pirl.evaluation.plan import PRESETS, TESTS, filmed_test, suite_plan
from pirl.experiment.config import PROJECT_ROOT, SCHEMA_PATH, load_experiment


@pytest.mark.parametrize(
    ("preset", "tasks", "episodes"),
    [("smoke", 1, 1), ("libero_4x10x10", 10, 10), ("libero_4x10x50", 10, 50)],
)
def test_a_preset_is_the_whole_protocol(preset, tasks, episodes):
    experiment = load_experiment(PROJECT_ROOT / "configs" / "smoke.yaml")
    experiment["suite_eval"]["preset"] = preset
    plan = suite_plan(experiment)
    per_task = Counter((episode.suite, episode.task_id) for episode in plan)
    assert Counter(suite for suite, _ in per_task) == dict.fromkeys(
        ("libero_spatial", "libero_object", "libero_goal", "libero_10"), tasks
    )
    assert set(per_task.values()) == {episodes}
    assert {episode.start.kind for episode in plan} == {"official"}
    assert len(set(plan)) == len(plan)


def test_a_part_of_the_trained_suite_holds_what_was_trained():
    experiment = load_experiment(PROJECT_ROOT / "configs" / "smoke.yaml")
    experiment |= {"suite": "libero_object", "task_ids": [7, 9]}
    experiment["suite_eval"] |= {"suites": ["libero_object", "libero_goal"], "tasks_per_suite": 3}
    tasks = {(episode.suite, episode.task_id) for episode in suite_plan(experiment)}
    assert tasks == {("libero_object", i) for i in (0, 7, 9)} | {("libero_goal", i) for i in (0, 1, 2)}


def test_every_preset_can_be_asked_for():
    schema = yaml.safe_load(SCHEMA_PATH.read_text())
    allowed = schema["properties"]["suite_eval"]["properties"]["preset"]["enum"]
    assert set(allowed) == {*PRESETS, None}


@pytest.mark.parametrize(("wide", "kind"), [(2, "wide"), (0, "official")])
def test_wide_starts_are_filmed_where_there_are_any(wide, kind):
    experiment = load_experiment(PROJECT_ROOT / "configs" / "smoke.yaml")
    experiment["smoke_eval"]["wide_episodes_per_task"] = wide
    plan = TESTS[filmed_test(experiment)](experiment)
    assert {episode.start.kind for episode in plan} == {kind}
