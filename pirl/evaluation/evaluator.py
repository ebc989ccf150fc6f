"""Runs planned episodes with whatever decides in them, in parallel workers."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from pirl.envs.workers import EnvWorkers, WorkerResult
from pirl.evaluation.plan import PlannedEpisode
from pirl.evaluation.randomness import Randomness
from pirl.files import read_json_lines, write_text_atomically

MAX_LOST_PER_EPISODE = 3
# Control steps between a film's pictures, which at LIBERO's 20 Hz are shown as fast as they happened.
FILM_STEPS = 4
FILM_MS = 200


class ChunkPolicy(Protocol):
    """What the evaluator asks: an episode's next actions [n, 7], from the simulator's observation."""

    def act(self, episode: PlannedEpisode, observation: dict[str, Any]) -> np.ndarray: ...


@dataclass(frozen=True)
class EpisodeRecord:
    """What is kept of one evaluated episode."""

    suite: str
    task_id: int
    start_kind: str
    start_index: int
    start_seed: int
    success: bool
    env_steps: int
    wall_s: float
    video: str | None = None

    @property
    def key(self) -> tuple[str, int, str, int, int]:
        """Names the planned episode that this record answers."""
        return (self.suite, self.task_id, self.start_kind, self.start_index, self.start_seed)

    def line(self) -> str:
        """As a line of a records file."""
        return json.dumps(asdict(self)) + "\n"


class EvaluationError(RuntimeError):
    """An episode could not be evaluated."""


@dataclass
class _Running:
    episode: PlannedEpisode
    began: float
    randomness: Randomness
    filmed: bool
    pending: np.ndarray = field(default_factory=lambda: np.zeros((0, 7)))  # decided, not yet executed
    frames: list[np.ndarray] = field(default_factory=list)
    frame_step: int = 0  # of the latest frame

    def film(self, result: WorkerResult) -> None:
        """Keep a picture of the first camera, upright, if the film is to show this moment."""
        if not self.filmed or not result.observation:
            return
        step = int(result.info.get("env_steps", 0))
        if self.frames and step - self.frame_step < FILM_STEPS and not result.terminated:
            return
        image = next(iter(result.observation["pixels"].values()))
        self.frames.append(image[::-1, ::-1].copy())
        self.frame_step = step


class Evaluator:
    """Evaluates one policy; results are appended to a JSON-lines file, so an interrupted run goes on.

    Every episode draws its policy's noise from a generator of its own and is decided for alone: neither the
    number of workers, nor their order, nor an interruption changes an outcome.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        workers: EnvWorkers,
        *,
        seed: int = 0,
        video_dir: Path | None = None,
        videos: int = 0,
    ) -> None:
        """Set up.

        Args:
            policy: decides.
            workers: environments to decide in.
            seed: added to each start's seed, begins the episode's random numbers.
            video_dir: where films go; None films nothing.
            videos: how many of a plan's episodes are filmed, evenly spread over it.
        """
        self._policy = policy
        self._workers = workers
        self._seed = seed
        self._video_dir = video_dir
        self._videos = videos
        self._filmed: set[tuple[str, int, str, int, int]] = set()

    def run(self, plan: list[PlannedEpisode], records_path: Path, label: str) -> list[EpisodeRecord]:
        """Run the episodes of `plan` that `records_path` does not hold yet.

        Returns:
            One record per planned episode, in the plan's order.

        Raises:
            EvaluationError: when an episode's worker died three times.
        """
        done = {record.key: record for record in read_records(records_path)}
        write_text_atomically(
            records_path, "".join(record.line() for record in done.values())
        )  # no torn line
        self._filmed = {
            _key(episode) for episode in plan[:: max(1, len(plan) // max(1, self._videos))][: self._videos]
        }
        remaining = deque(episode for episode in plan if _key(episode) not in done)
        with (
            open(records_path, "a", encoding="utf-8") as file,
            tqdm(total=len(plan), initial=len(plan) - len(remaining), desc=label, unit="episode") as bar,
        ):

            def keep(record: EpisodeRecord) -> None:
                done[record.key] = record
                file.write(record.line())
                file.flush()
                bar.update()

            self._run(remaining, keep)
        return [done[_key(episode)] for episode in plan]

    def _run(self, remaining: deque[PlannedEpisode], keep: Callable[[EpisodeRecord], None]) -> None:
        running: dict[int, _Running] = {}
        lost: dict[PlannedEpisode, int] = {}
        idle = list(range(self._workers.num_workers))
        while remaining or running:
            while idle and remaining:
                self._begin(idle.pop(), remaining.popleft(), running)
            ready: list[WorkerResult] = []
            for result in self._workers.collect(timeout=1.0):
                if result.event == "lost":
                    episode = running.pop(result.worker).episode
                    lost[episode] = lost.get(episode, 0) + 1
                    logging.warning("environment worker %d was lost: %s", result.worker, result.error)
                    if lost[episode] >= MAX_LOST_PER_EPISODE:
                        raise EvaluationError(
                            f"{episode}: its worker died {lost[episode]} times: {result.error}"
                        )
                    remaining.append(episode)
                    idle.append(result.worker)
                    continue
                current = running[result.worker]
                current.film(result)
                if result.terminated or result.truncated:
                    del running[result.worker]
                    idle.append(result.worker)
                    keep(self._record(current, result))
                else:
                    ready.append(result)
            self._decide(ready, running)

    def _begin(self, worker: int, episode: PlannedEpisode, running: dict[int, _Running]) -> None:
        randomness = Randomness(self._seed + episode.start.seed)
        filmed = self._video_dir is not None and _key(episode) in self._filmed
        running[worker] = _Running(episode, time.perf_counter(), randomness, filmed)
        self._workers.reset(worker, episode.task, episode.start)

    def _decide(self, ready: list[WorkerResult], running: dict[int, _Running]) -> None:
        for result in ready:
            current = running[result.worker]
            if not len(current.pending):
                with current.randomness:
                    current.pending = self._policy.act(current.episode, result.observation or {})
            steps = FILM_STEPS if current.filmed else len(current.pending)
            actions, current.pending = current.pending[:steps], current.pending[steps:]
            self._workers.step(result.worker, actions)

    def _record(self, current: _Running, result: WorkerResult) -> EpisodeRecord:
        episode = current.episode
        success = bool(result.info["is_success"])
        return EpisodeRecord(
            suite=episode.suite,
            task_id=episode.task_id,
            start_kind=episode.start.kind,
            start_index=episode.start.index,
            start_seed=episode.start.seed,
            success=success,
            env_steps=int(result.info["env_steps"]),
            wall_s=time.perf_counter() - current.began,
            video=self._write_video(current, success),
        )

    def _write_video(self, current: _Running, success: bool) -> str | None:
        """Keep a filmed episode as an animated picture."""
        if self._video_dir is None or not current.frames:
            return None
        from PIL import Image

        self._video_dir.mkdir(parents=True, exist_ok=True)
        episode = current.episode
        outcome = "success" if success else "failure"
        name = f"{episode.suite}_{episode.task_id}_{episode.start.kind}{episode.start.seed}_{outcome}.gif"
        first, *others = (Image.fromarray(frame) for frame in current.frames)
        first.save(self._video_dir / name, save_all=True, append_images=others, duration=FILM_MS, loop=0)
        return name


def _key(episode: PlannedEpisode) -> tuple[str, int, str, int, int]:
    start = episode.start
    return (episode.suite, episode.task_id, start.kind, start.index, start.seed)


def read_records(path: Path) -> list[EpisodeRecord]:
    """Records of an earlier, possibly interrupted, run."""
    return [EpisodeRecord(**line) for line in read_json_lines(path)]
