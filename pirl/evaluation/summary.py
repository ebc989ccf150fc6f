"""From episode records to the numbers of the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pirl.envs.tasks import get_task
from pirl.evaluation.evaluator import EpisodeRecord
from pirl.evaluation.statistics import wilson_interval


def summarise(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    """Success per suite and task, with Wilson 95 % intervals, and the average over suites (None of none)."""
    by_suite: dict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        by_suite[record.suite].append(record)
    suites = {suite: _suite(suite, episodes) for suite, episodes in by_suite.items()}
    rates = [suite["success_rate"] for suite in suites.values()]
    return {"suites": suites, "average_success_rate": sum(rates) / len(rates) if rates else None}


def _suite(suite: str, records: list[EpisodeRecord]) -> dict[str, Any]:
    by_task: dict[int, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        by_task[record.task_id].append(record)
    successes, episodes = sum(record.success for record in records), len(records)
    return {
        "successes": successes,
        "episodes": episodes,
        "success_rate": successes / episodes,
        "ci95": list(wilson_interval(successes, episodes)),
        "tasks": {
            str(task_id): {
                "language": get_task(suite, task_id).language,
                "successes": sum(record.success for record in task_records),
                "episodes": len(task_records),
                "mean_env_steps": sum(record.env_steps for record in task_records) / len(task_records),
            }
            for task_id, task_records in sorted(by_task.items())
        },
    }
