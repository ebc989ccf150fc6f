"""Environment workers: spawned processes that step chunks while the caller does something else."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import numpy as np

from pirl.envs.starts import Start

Task = tuple[str, int]


@dataclass
class WorkerResult:
    """What a worker answers to one command; `lost` when it died and was restarted."""

    worker: int
    event: Literal["reset", "step", "lost"]
    observation: dict[str, Any] | None = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class EnvWorkers:
    """`num_workers` processes with one `LiberoChunkEnv` each, and a GL context of its own.

    Commands return at once; `collect` brings the answers as they come. A worker that dies is restarted and
    its episode reported as lost.
    """

    def __init__(self, num_workers: int, tasks: Sequence[Task], *, chunk_size: int, **settings: Any) -> None:
        """Start the workers.

        Args:
            num_workers: processes.
            tasks: (suite, task id) pairs that episodes may ask for.
            chunk_size: most control steps per command.
            settings: passed to `LiberoChunkEnv`.
        """
        self.num_workers = num_workers
        self._settings = (list(tasks), {"chunk_size": chunk_size, **settings})
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(num_workers)]

    def reset(self, worker: int, task: Task, start: Start) -> None:
        """Begin an episode in a worker."""
        self._send(worker, ("reset", (task, start)))

    def step(self, worker: int, actions: np.ndarray) -> None:
        """Execute a chunk [n, 7] in a worker."""
        self._send(worker, ("step", actions))

    def collect(self, timeout: float) -> list[WorkerResult]:
        """Answers that are there within `timeout` seconds, at least one unless time runs out.

        Raises:
            ValueError: when a worker refused a command; the message is its own.
        """
        pipes = {pipe: worker for worker, (pipe, _) in enumerate(self._workers)}
        results = []
        for pipe in wait(list(pipes), timeout):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                answer = pipe.recv()  # type: ignore[union-attr]
            except (EOFError, OSError):
                results.append(self._replace(worker))
                continue
            if isinstance(answer, ValueError):
                raise answer
            results.append(WorkerResult(worker, *answer))
        return results

    def close(self) -> None:
        """End all workers."""
        for pipe, process in self._workers:
            pipe.close()
            process.join(timeout=5.0)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers.clear()

    def _start(self) -> tuple[Connection, BaseProcess]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, *self._settings), daemon=True)
        process.start()
        theirs.close()
        return ours, process

    def _send(self, worker: int, command: tuple[str, Any]) -> None:
        try:
            self._workers[worker][0].send(command)
        except (BrokenPipeError, ConnectionResetError):
            return  # it died; `collect` says so

    def _replace(self, worker: int) -> WorkerResult:
        pipe, process = self._workers[worker]
        pipe.close()
        process.join(timeout=5.0)
        self._workers[worker] = self._start()
        return WorkerResult(worker, "lost", error=f"its process ended with exit status {process.exitcode}")


def _serve(pipe: Connection, tasks: list[Task], settings: dict[str, Any]) -> None:
    """A worker's life: answers commands until the other end closes."""
    from pirl.envs.chunk_env import LiberoChunkEnv

    environment = LiberoChunkEnv(tasks, **settings)
    while True:
        try:
            name, argument = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            if name == "reset":
                observation, info = environment.reset(options={"task": argument[0], "start": argument[1]})
                pipe.send(("reset", observation, 0.0, False, False, info))
            else:
                pipe.send(("step", *environment.step(argument)))
        except ValueError as error:
            pipe.send(error)
    os._exit(0)  # without the renderer's noise at interpreter exit
