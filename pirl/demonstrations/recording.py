"""Records many demonstrations at once in spawned worker processes, resumably."""

from __future__ import annotations

import json
import multiprocessing as mp
import queue
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Literal

from pirl.demonstrations.layouts import CAMERAS
from pirl.files import write_json_atomically

ATTEMPTS = 8
"""Starts tried per episode before giving up; try k of episode i starts from seed + 8 i + k."""


class RecordingError(RuntimeError):
    """Recording cannot go on; the message says what, where and what to do."""


@dataclass(frozen=True)
class Recording:
    """What is recorded; two recordings that are equal give the same episodes.

    Attributes:
        suite: LIBERO suite.
        task_ids: Its tasks, in the order of the data set.
        episodes: Successful episodes per task.
        starts: "sampled", "wide" or "official"; official ones are for tests.
        seed: First seed of the starts; episode i of every task uses [seed + 8 i, seed + 8 i + 8).
        cameras: Cameras in the order of the data set.
        height: Image height, pixels.
        width: Image width, pixels.
        action_noise: Standard deviation of the DART noise, action units.
        fidelity: "exact" or "fast" physics and rendering.
    """

    suite: str = "libero_object"
    task_ids: tuple[int, ...] = (0,)
    episodes: int = 10
    starts: Literal["official", "sampled", "wide"] = "sampled"
    seed: int = 0
    cameras: tuple[str, ...] = tuple(CAMERAS)
    height: int = 128
    width: int = 128
    action_noise: float = 0.0
    fidelity: Literal["exact", "fast"] = "exact"

    def jobs(self) -> list[Job]:
        """Every episode of the recording, task by task."""
        return [Job(task_id, episode) for task_id in self.task_ids for episode in range(self.episodes)]


@dataclass(frozen=True)
class Job:
    """One episode to be recorded."""

    task_id: int
    episode: int

    def path(self, folder: Path) -> Path:
        """Its file."""
        return folder / f"task{self.task_id:02d}_episode{self.episode:05d}.npz"


@dataclass
class Tally:
    """How recording went: attempts that failed, per task."""

    recorded: int = 0
    failed: dict[int, int] = field(default_factory=dict)


def record(
    recording: Recording,
    folder: Path,
    workers: int,
    on_episode: Callable[[Job, bool], None] = lambda *_: None,
) -> Tally:
    """Fill `folder` with one file per episode; episodes already there are kept.

    Args:
        recording: What to record.
        folder: Working folder; belongs to this recording alone.
        workers: Processes; each keeps one simulator.
        on_episode: Called after every attempt with the job and whether it succeeded.

    Raises:
        RecordingError: If the folder belongs to another recording, an episode fails ATTEMPTS times, or a
            worker dies. What was recorded stays, and the next call goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings, wanted = folder / "recording.json", json.loads(json.dumps(asdict(recording)))
    if settings.is_file() and json.loads(settings.read_text(encoding="utf-8")) != wanted:
        raise RecordingError(
            f"{folder} holds an unfinished recording with other settings; delete it, or repeat its settings"
        )
    write_json_atomically(settings, wanted)
    missing = [job for job in recording.jobs() if not job.path(folder).is_file()]
    tally = Tally()
    if missing:
        _run(recording, folder, _share(missing, workers), on_episode, tally)
    return tally


def _share(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """Contiguous shares, so that a worker seldom changes its task."""
    workers = max(1, min(workers, len(jobs)))
    bounds = [len(jobs) * i // workers for i in range(workers + 1)]
    return [list(jobs[a:b]) for a, b in pairwise(bounds)]


def _run(
    recording: Recording,
    folder: Path,
    shares: list[list[Job]],
    on_episode: Callable[[Job, bool], None],
    tally: Tally,
) -> None:
    context = mp.get_context("spawn")
    results: Queue = context.Queue()
    processes = [
        context.Process(target=_work, args=(recording, folder, share, results), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    working = len(processes)
    try:
        while working:
            try:
                job, outcome = results.get(timeout=1.0)
            except queue.Empty:
                _check_alive(processes)
                continue
            if job is None:
                if outcome is not None:
                    raise RecordingError(outcome)
                working -= 1
                continue
            tally.recorded += outcome
            tally.failed[job.task_id] = tally.failed.get(job.task_id, 0) + (not outcome)
            on_episode(job, outcome)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _check_alive(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.exitcode not in (None, 0):
            raise RecordingError(
                f"a recording process died (exit code {process.exitcode}); the same command goes on"
            )


def _work(recording: Recording, folder: Path, jobs: list[Job], results: Queue) -> None:
    """Body of a worker process: its jobs one after the other, with one simulator at a time."""
    from pirl.envs.simulation import LiberoSimulation

    simulation, task_id = None, None
    try:
        for job in jobs:
            if job.task_id != task_id:
                if simulation is not None:
                    simulation.close()
                simulation = LiberoSimulation(
                    recording.suite,
                    job.task_id,
                    cameras=recording.cameras,
                    height=recording.height,
                    width=recording.width,
                    fidelity=recording.fidelity,
                )
                task_id = job.task_id
            _record_one(recording, folder, job, simulation, results)
        if simulation is not None:
            simulation.close()
        results.put((None, None))
    except RecordingError as error:
        results.put((None, str(error)))
    except Exception:
        results.put((None, f"recording {recording.suite} failed:\n{traceback.format_exc()}"))


def _record_one(recording: Recording, folder: Path, job: Job, simulation: Any, results: Queue) -> None:
    from pirl.demonstrations.episodes import demonstrate
    from pirl.envs.starts import Start

    for attempt in range(ATTEMPTS):
        seed = recording.seed + ATTEMPTS * job.episode + attempt
        start = Start(recording.starts, job.episode % 50 if recording.starts == "official" else 0, seed)
        episode = demonstrate(simulation, start, action_noise=recording.action_noise)
        if episode.success:
            episode.save(job.path(folder))
        results.put((job, episode.success))
        if episode.success:
            return
    raise RecordingError(
        f"{recording.suite} task {job.task_id}: the expert failed episode {job.episode} {ATTEMPTS} times"
        f" (action_noise {recording.action_noise}); leave out the task or lower --action_noise"
    )
