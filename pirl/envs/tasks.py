"""LIBERO's suites and tasks."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

from pirl.envs.assets import configure_libero

# Episode caps in control steps, as LeRobot sets them.
MAX_STEPS = {
    "libero_spatial": 280,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
SUITES = tuple(MAX_STEPS)


@dataclass(frozen=True)
class LiberoTask:
    """One task of a suite."""

    suite: str
    task_id: int
    language: str
    bddl_file: str
    init_states_file: str
    max_steps: int


def num_tasks(suite: str) -> int:
    """Number of tasks in a suite.

    Raises:
        ValueError: when there is no such suite.
    """
    return len(_benchmark(suite).tasks)


@cache
def get_task(suite: str, task_id: int) -> LiberoTask:
    """Look a task up.

    Raises:
        ValueError: naming the suite or task that does not exist, and those that do.
    """
    benchmark = _benchmark(suite)
    if not 0 <= task_id < len(benchmark.tasks):
        raise ValueError(f"{suite} has no task {task_id}; its tasks are 0 to {len(benchmark.tasks) - 1}")
    from libero.libero import get_libero_path

    task = benchmark.get_task(task_id)
    return LiberoTask(
        suite=suite,
        task_id=task_id,
        language=task.language,
        bddl_file=os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file),
        init_states_file=os.path.join(
            get_libero_path("init_states"), task.problem_folder, task.init_states_file
        ),
        max_steps=MAX_STEPS[suite],
    )


@cache
def _benchmark(suite: str) -> Any:
    if suite not in MAX_STEPS:
        raise ValueError(f"unknown LIBERO suite {suite!r}; the suites are {', '.join(SUITES)}")
    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):  # LIBERO prints its task order
        from libero.libero import benchmark

        return benchmark.get_benchmark_dict()[suite]()
