"""Environment workers: processes that step chunks while the caller does something else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import numpy as np

from pirl.envs.starts import Start

Task = tuple[str, int]
# A worker that dies this often in a row without an answer will not do better the next time.
MAX_DEATHS = 3
GOODBYE_S = 5.0
# Niceness of workers: where they fill all cores, a caller that has an answer to read must not wait for the
# end of their time slice, or a worker waits idly for its next command.
CALLER_FIRST = 10
# Many workers share the cores: neither numerics nor Mesa's software renderer should start threads of its own.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}
# What the caller did wrong or must put right; anything else ends the worker.
REPORTED_ERRORS = (ValueError, RuntimeError, OSError)


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
    """`num_workers` processes with one `LiberoChunkEnv` and one GL context each.

    Commands return at once; `collect` brings the answers as they come. A worker that dies is restarted and
    its episode reported as lost. Workers are fresh interpreters: they import LIBERO, not what the caller did.
    """

    def __init__(self, num_workers: int, tasks: Sequence[Task], *, chunk_size: int, **settings: Any) -> None:
        """Start the workers.

        Args:
            num_workers: processes.
            tasks: (suite, task id) pairs that episodes may ask for.
            chunk_size: most control steps per command.
            settings: passed to `LiberoChunkEnv`.

        Raises:
            ValueError: when there is to be no worker.
        """
        if num_workers < 1:
            raise ValueError(f"num_workers: {num_workers} is less than one")
        self.num_workers = num_workers
        self._settings = {"tasks": list(tasks), "chunk_size": chunk_size, **settings}
        self._workers = [self._start() for _ in range(num_workers)]
        self._deaths = [0] * num_workers

    def reset(self, worker: int, task: Task, start: Start) -> None:
        """Begin an episode in a worker."""
        self._send(worker, ("reset", {"task": task, "start": start}))

    def step(self, worker: int, actions: np.ndarray) -> None:
        """Execute a chunk [n, 7] in a worker."""
        self._send(worker, ("step", np.asarray(actions)))

    def collect(self, timeout: float) -> list[WorkerResult]:
        """Answers that are there within `timeout` seconds, at least one unless time runs out.

        Raises:
            ValueError: when a worker refused a command.
            RuntimeError: when a worker cannot work, or dies again and again.
            OSError: when a file is missing. Each message is the worker's own.
        """
        pipes = {pipe: worker for worker, (pipe, _) in enumerate(self._workers)}
        results = []
        for pipe in wait(list(pipes), timeout):
            assert isinstance(pipe, Connection)
            worker = pipes[pipe]
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                results.append(self._replace(worker))
                continue
            if isinstance(answer, Exception):
                raise answer
            self._deaths[worker] = 0
            results.append(WorkerResult(worker, *answer))
        return results

    def close(self) -> None:
        """End all workers."""
        for pipe, _ in self._workers:
            pipe.close()
        for _, process in self._workers:
            try:
                process.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._workers.clear()

    def _start(self) -> tuple[Connection, subprocess.Popen[bytes]]:
        ours, theirs = Pipe()
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={
                **ONE_THREAD,
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        theirs.close()
        ours.send(self._settings)
        return ours, process

    def _send(self, worker: int, command: tuple[str, Any]) -> None:
        try:
            self._workers[worker][0].send(command)
        except (BrokenPipeError, ConnectionResetError):
            return  # it died; `collect` says so

    def _replace(self, worker: int) -> WorkerResult:
        pipe, process = self._workers[worker]
        pipe.close()
        process.kill()
        error = f"its process ended with exit status {process.wait()}"
        self._deaths[worker] += 1
        if self._deaths[worker] >= MAX_DEATHS:
            raise RuntimeError(f"environment worker {worker} died {MAX_DEATHS} times in a row: {error}")
        self._workers[worker] = self._start()
        return WorkerResult(worker, "lost", error=error)


def serve(descriptor: int) -> None:
    """A worker's life: answers commands until the other end closes.

    Args:
        descriptor: of the inherited pipe; its first message holds the arguments of `LiberoChunkEnv`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends its workers itself
    os.nice(CALLER_FIRST)
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the caller is gone
        _answer(pipe)
    os._exit(0)  # without freeing what the system frees faster


def _answer(pipe: Connection) -> None:
    from pirl.envs.chunk_env import LiberoChunkEnv

    settings = pipe.recv()
    environment: LiberoChunkEnv | None = None
    while True:
        name, argument = pipe.recv()
        answer: Any
        try:
            environment = environment or LiberoChunkEnv(**settings)
            if name == "reset":
                observation, info = environment.reset(options=argument)
                answer = ("reset", observation, 0.0, False, False, info)
            else:
                answer = ("step", *environment.step(argument))
        except REPORTED_ERRORS as error:
            answer = error
        pipe.send(answer)
