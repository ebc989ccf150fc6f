"""LIBERO's suites and tasks."""

from __future__ import annotations

import os
import re
import runpy
from dataclasses import dataclass
from functools import cache

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
    return len(_task_names(suite))


@cache
def get_task(suite: str, task_id: int) -> LiberoTask:
    """Look a task up.

    Raises:
        ValueError: naming the suite or task that does not exist, and those that do.
    """
    names = _task_names(suite)
    if not 0 <= task_id < len(names):
        raise ValueError(f"{suite} has no task {task_id}; its tasks are 0 to {len(names) - 1}")
    from libero.libero import get_libero_path

    name = names[task_id]
    return LiberoTask(
        suite=suite,
        task_id=task_id,
        language=_language(name),
        bddl_file=os.path.join(get_libero_path("bddl_files"), suite, f"{name}.bddl"),
        init_states_file=os.path.join(get_libero_path("init_states"), suite, f"{name}.pruned_init"),
        max_steps=MAX_STEPS[suite],
    )


@cache
def _task_names(suite: str) -> tuple[str, ...]:
    """LIBERO's own list, read without its benchmark module, which would import torch."""
    if suite not in MAX_STEPS:
        raise ValueError(f"unknown LIBERO suite {suite!r}; the suites are {', '.join(SUITES)}")
    configure_libero()
    from libero.libero import get_libero_path

    path = os.path.join(get_libero_path("benchmark_root"), "benchmark", "libero_suite_task_map.py")
    return tuple(runpy.run_path(path)["libero_task_map"][suite])


def _language(name: str) -> str:
    """The instruction that a task's name spells, as LIBERO derives it: the name without its scene."""
    return re.sub(r"^[A-Z_]*SCENE\d+_", "", name).replace("_", " ")
