"""Demonstrations without pictures, as absolute actions, for blind replay."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from pirl.demonstrations.episodes import demonstrate
from pirl.demonstrations.layouts import libero_to_target
from pirl.demonstrations.recording import ATTEMPTS
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start
from pirl.envs.workers import Task


def record_targets(
    tasks: Sequence[Task], episodes: int, seed: int, workers: int
) -> dict[Task, list[np.ndarray]]:
    """Let the expert do each task from `sampled` starts; tasks that it does not master are left out.

    Args:
        tasks: (suite, task id) pairs.
        episodes: successful episodes per task.
        seed: of the first start.
        workers: processes.

    Returns:
        Per task its episodes' actions [T, 7]: the poses that robosuite's controller was sent to.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_record, task, episodes, seed) for task in tasks]
        found = [job.result() for job in tqdm(jobs, "replay: demonstrations", unit="task")]
    return {task: targets for task, targets in zip(tasks, found, strict=True) if targets}


def _record(task: Task, episodes: int, seed: int) -> list[np.ndarray]:
    simulation = LiberoSimulation(*task, cameras=(), fidelity="fast")
    targets: list[np.ndarray] = []
    for attempt in range(ATTEMPTS + episodes):
        episode = demonstrate(simulation, Start("sampled", seed=seed + attempt))
        if episode.success:
            targets.append(libero_to_target(episode.states, episode.actions))
        if len(targets) == episodes:
            break
    simulation.close()
    return targets
