"""Which episodes an evaluation runs: every one is named before the first begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pirl.envs.starts import Start, StartKind
from pirl.envs.tasks import num_tasks
from pirl.envs.workers import Task

FOUR_SUITES = ["libero_spatial", "libero_object", "libero_goal", "libero_10"]
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"suites": FOUR_SUITES, "tasks_per_suite": 1, "episodes_per_task": 1},
    "libero_4x10x10": {"suites": FOUR_SUITES, "tasks_per_suite": 10, "episodes_per_task": 10},
    "libero_4x10x50": {"suites": FOUR_SUITES, "tasks_per_suite": 10, "episodes_per_task": 50},
}
"""Named multi-suite protocols: suites x tasks x official initial states."""


@dataclass(frozen=True)
class PlannedEpisode:
    """One episode of an evaluation."""

    suite: str
    task_id: int
    start: Start

    @property
    def task(self) -> Task:
        """Suite and task id."""
        return self.suite, self.task_id


def official_episodes(suite: str, task_ids: list[int], episodes: int) -> list[PlannedEpisode]:
    """The first `episodes` official initial states of each task; episode i's fixtures are seeded by i."""
    return [
        PlannedEpisode(suite, task_id, Start(kind="official", index=index, seed=index))
        for task_id in task_ids
        for index in range(episodes)
    ]


def seeded_episodes(
    suite: str, task_ids: list[int], episodes: int, kind: StartKind, seed_base: int
) -> list[PlannedEpisode]:
    """`episodes` fresh starts of each task, seeds counted up from `seed_base`."""
    return [
        PlannedEpisode(suite, task_id, Start(kind=kind, seed=seed_base + task_id * 10_000 + index))
        for task_id in task_ids
        for index in range(episodes)
    ]


def selection_plan(experiment: dict[str, Any]) -> list[PlannedEpisode]:
    """Episodes that choose among a run's checkpoints; never the official states."""
    select = experiment["select"]
    return seeded_episodes(
        experiment["suite"],
        experiment["task_ids"],
        select["episodes_per_task"],
        select["starts"],
        select["seed_base"],
    )


def smoke_plan(experiment: dict[str, Any]) -> list[PlannedEpisode]:
    """The trained tasks on official initial states."""
    return official_episodes(
        experiment["suite"], experiment["task_ids"], experiment["smoke_eval"]["episodes_per_task"]
    )


def exact_plan(experiment: dict[str, Any]) -> list[PlannedEpisode]:
    """The first of the smoke test's episodes, for stock rendering; none when the experiment wants none."""
    smoke = experiment["smoke_eval"]
    episodes = min(smoke["exact_episodes_per_task"], smoke["episodes_per_task"])
    return official_episodes(experiment["suite"], experiment["task_ids"], episodes)


def wide_plan(experiment: dict[str, Any]) -> list[PlannedEpisode]:
    """The trained tasks on held-out wide starts; empty when the experiment wants none."""
    smoke = experiment["smoke_eval"]
    return seeded_episodes(
        experiment["suite"],
        experiment["task_ids"],
        smoke["wide_episodes_per_task"],
        "wide",
        smoke["wide_seed_base"],
    )


def suite_plan(experiment: dict[str, Any]) -> list[PlannedEpisode]:
    """Whole suites, or some tasks of each (trained ones first), on official initial states."""
    suite_eval = experiment["suite_eval"]
    suite_eval = PRESETS.get(suite_eval["preset"], suite_eval)
    plan = []
    for suite in suite_eval["suites"]:
        trained = experiment["task_ids"] if suite == experiment["suite"] else []
        tasks = sorted(range(num_tasks(suite)), key=lambda task_id: task_id not in trained)
        chosen = sorted(tasks[: suite_eval["tasks_per_suite"]])
        plan += official_episodes(suite, chosen, suite_eval["episodes_per_task"])
    return plan


TESTS: dict[str, Callable[[dict[str, Any]], list[PlannedEpisode]]] = {
    "smoke": smoke_plan,
    "smoke_wide": wide_plan,
    "smoke_exact": exact_plan,
    "suites": suite_plan,
}
"""The final tests, by the name of their result files."""

HEADLINE_TESTS = ("smoke_wide", "smoke")
"""Those that may head a report, the more telling first: official states hardly differ from each other."""


def filmed_test(experiment: dict[str, Any]) -> str:
    """The test whose episodes are filmed: the most telling one that is made."""
    return next(name for name in HEADLINE_TESTS if TESTS[name](experiment))


def tested_tasks(experiment: dict[str, Any]) -> list[Task]:
    """Every task of any final test."""
    return sorted({episode.task for plan in TESTS.values() for episode in plan(experiment)})
