"""Starts the learner and its actors, watches them, and leaves nothing behind.

    pirl-train --config_path run.json

The learner binds a free port and says which; actors start when it listens. An actor that dies is restarted
while the budget of restarts lasts; a learner that dies is restarted from its last checkpoint. When the
learner ends well, the run is over.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pirl.files import write_json_atomically
from pirl.runtime.child import EXIT_STOPPED, Child, rank_environments

TERM_GRACE_S = 30.0
POLL_S = 0.5
MAX_RESTARTS = 3
LEARNER_START_S = 300.0
# Unless `budget.stall_s` says otherwise.
STALL_S = 600.0
# Seconds the leading learner process has to say why it ends, once another one has ended.
LAST_WORDS_S = 5.0
# How often each actor has been started.
INCARNATIONS_FILE = "incarnations.json"
LEARNER_MODULE = "pirl.runtime.learner"
ACTOR_MODULE = "pirl.runtime.actor"


class TrainingFailed(RuntimeError):
    """The run could not be completed; the message holds the last lines of the log at fault."""


def _own_settings(settings: dict[str, Any], overrides: list[str]) -> argparse.Namespace:
    """What the supervisor itself needs of the run file and of the overrides that it passes on."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_dir", default=settings["output_dir"])
    parser.add_argument("--actors", type=int, default=settings.get("actors", 1))
    parser.add_argument("--learner_processes", type=int, default=settings.get("learner_processes", 1))
    parser.add_argument("--learner_threads", type=int, default=settings.get("learner_threads", 2))
    budget = settings.get("budget", {})
    parser.add_argument("--budget.env_steps", dest="env_steps", type=int, default=budget.get("env_steps", 0))
    stall_s = budget.get("stall_s", STALL_S)
    parser.add_argument("--budget.stall_s", dest="stall_s", type=float, default=stall_s)
    return parser.parse_known_args(overrides)[0]


class Supervisor:
    """Runs one training run to its end."""

    def __init__(
        self,
        config_path: Path,
        overrides: list[str] | None = None,
        *,
        max_restarts: int = MAX_RESTARTS,
        progress: bool = True,
        learner_module: str = LEARNER_MODULE,
        actor_module: str = ACTOR_MODULE,
    ) -> None:
        self._config_path = config_path
        self._overrides = overrides or []
        settings = _own_settings(json.loads(Path(config_path).read_text()), self._overrides)
        self._output_dir = Path(settings.output_dir)
        self._actors = settings.actors
        self._learner_processes = settings.learner_processes
        self._learner_threads = settings.learner_threads
        self._budget = settings.env_steps
        self._restarts_left = max_restarts
        self._stall_s = settings.stall_s
        self._progress = progress
        self._learner_module, self._actor_module = learner_module, actor_module
        self._children: dict[str, Child] = {}
        self._incarnations = self._earlier_incarnations()
        self._port = 0
        self._stopping = False

    def run(self) -> dict[str, Any]:
        """Train to the end of the budget.

        Returns:
            The run's summary, `train.json`.

        Raises:
            TrainingFailed: when a process died too often, or nothing moved for too long.
        """
        self._output_dir.mkdir(parents=True, exist_ok=True)
        for name in ("train.json", "status.json"):  # the learner writes them anew, also when it resumes
            (self._output_dir / name).unlink(missing_ok=True)
        previous = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            self._start_learner()
            for actor in range(self._actors):
                self._start_actor(actor)
            self._watch()
        finally:
            self._stop_all()
            for number, handler in previous.items():
                signal.signal(number, handler)
        return json.loads((self._output_dir / "train.json").read_text())

    def _earlier_incarnations(self) -> dict[str, int]:
        """How often each actor of a run that goes on was started before: its starts shall not repeat."""
        if not (self._output_dir / "checkpoints" / "last").is_dir():
            return {}
        return _read_json(self._output_dir / INCARNATIONS_FILE) or {}

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def _start(self, name: str, module: str, *flags: str, environment: dict[str, str] | None = None) -> None:
        """Start a process of the run, which reads the run file and the overrides before `flags`."""
        flags = ("--config_path", str(self._config_path), *self._overrides, *flags)
        log = self._output_dir / "logs" / f"{name}.out"
        self._children[name] = Child.start(name, module, flags, log, environment or {})

    def _start_learner(self) -> None:
        """Start the learner and wait until it listens; one that is killed meanwhile is started again."""
        while not self._learner_listens():
            self._restarts_left -= 1
            logging.warning(
                "the learner was killed while it started; again (%d restarts left)", self._restarts_left
            )

    def _learner_listens(self) -> bool:
        """Start the learner, which resumes whenever there is a checkpoint; False if it was killed.

        Raises:
            TrainingFailed: when it ended by itself, was killed too often, or does not listen in time.
        """
        announcement = self._output_dir / "learner.json"
        announcement.unlink(missing_ok=True)
        ranks = rank_environments(self._learner_processes, self._learner_threads)
        for rank, environment in enumerate(ranks):
            self._start(
                f"learner_{rank}" if rank else "learner",
                self._learner_module,
                "--resume=true",
                f"--transport.port={self._port}",
                environment=environment,
            )
        child = self._children["learner"]
        deadline = time.monotonic() + LEARNER_START_S
        while not announcement.is_file():
            child, code = self._learner_state()
            if code is not None and code < 0 and self._restarts_left > 0:
                self._kill_learner()
                return False
            if code is not None:
                raise TrainingFailed(f"the learner did not start; end of {child.log}:\n{child.tail()}")
            if time.monotonic() > deadline:
                raise TrainingFailed(
                    f"the learner did not listen within {LEARNER_START_S:.0f} s; see {child.log}"
                )
            if self._stopping:
                raise TrainingFailed("stopped by a signal before the learner listened")
            time.sleep(0.1)
        self._port = int(json.loads(announcement.read_text())["port"])
        return True

    def _start_actor(self, actor: int) -> None:
        name = f"actor_{actor}"
        incarnation = self._incarnations.get(name, 0)
        self._start(
            name,
            self._actor_module,
            f"--transport.port={self._port}",
            f"--actor_id={actor}",
            f"--incarnation={incarnation}",
        )
        self._incarnations[name] = incarnation + 1
        write_json_atomically(self._output_dir / INCARNATIONS_FILE, self._incarnations)

    def _watch(self) -> None:
        moved_at, last_status = time.monotonic(), None
        with _progress_bar(self._budget, self._progress) as advance:
            while True:
                if self._stopping:
                    raise TrainingFailed("stopped by a signal; run again to resume from the last checkpoint")
                learner = self._children["learner"]
                if learner.process.poll() is not None and (self._output_dir / "train.json").is_file():
                    if code := learner.process.returncode:
                        logging.warning("the learner ended with %s after it had saved everything", code)
                    return
                self._restart_dead()
                status = _read_json(self._output_dir / "status.json")
                if status != last_status:
                    moved_at, last_status = time.monotonic(), status
                    advance(status)
                if time.monotonic() - moved_at > self._stall_s:
                    raise TrainingFailed(
                        f"no environment step and no update for {self._stall_s:.0f} s; "
                        f"see {learner.log.parent}"
                    )
                time.sleep(POLL_S)

    def _restart_dead(self) -> None:
        for name, child in list(self._children.items()):
            code = child.process.poll()
            if code is None or code == 0:  # alive, or left because the run is over
                continue
            of_learner = name.startswith("learner")
            if of_learner:
                child, code = self._learner_state()
            if self._restarts_left == 0 or (of_learner and code == EXIT_STOPPED):
                raise TrainingFailed(f"{child.name} ended with {code}; end of {child.log}:\n{child.tail()}")
            self._restarts_left -= 1
            logging.warning(
                "%s ended with %s; restarting (%d restarts left)", child.name, code, self._restarts_left
            )
            if of_learner:
                self._kill_learner()
                return self._start_learner()
            child.kill()
            self._start_actor(int(name.removeprefix("actor_")))

    def _learners(self) -> list[Child]:
        return [child for name, child in self._children.items() if name.startswith("learner")]

    def _learner_state(self) -> tuple[Child, int | None]:
        """The learner process to be asked why it ended and its exit status, None while all live.

        One that ends takes the others with it; a leading process that stops on purpose may be seen last.
        """
        leading = self._children["learner"]
        failed = [child for child in self._learners() if child.process.poll() not in (None, 0)]
        if failed and leading.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                leading.process.wait(LAST_WORDS_S)
        blamed = failed[0] if failed and leading.process.poll() != EXIT_STOPPED else leading
        return blamed, blamed.process.poll()

    def _kill_learner(self) -> None:
        for child in self._learners():
            child.kill()

    def _stop_all(self) -> None:
        """Terminate every child once, wait, then kill its whole process group."""
        living = [child for child in self._children.values() if child.process.poll() is None]
        for child in living:
            child.process.terminate()
        deadline = time.monotonic() + TERM_GRACE_S
        for child in living:
            try:
                child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logging.warning("%s did not leave within %.0f s; killed", child.name, TERM_GRACE_S)
        for child in self._children.values():
            child.kill()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@contextmanager
def _progress_bar(total: int, enabled: bool) -> Iterator[Callable[[dict[str, Any] | None], None]]:
    """A bar over environment steps; yields the function that advances it."""
    with tqdm(total=total, unit="step", disable=not enabled, mininterval=2.0) as bar:

        def advance(status: dict[str, Any] | None) -> None:
            if status is not None:
                bar.set_postfix(updates=status["updates"], episodes=status["episodes"])
                bar.update(max(0, status["env_steps"] - bar.n))

        yield advance


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-train`."""
    parser = argparse.ArgumentParser(
        prog="pirl-train",
        description="Train one recipe: a learner and its actors under one supervisor. "
        "Dotted overrides (--algorithm.actor_lr=1e-5) are passed on to both.",
    )
    parser.add_argument("--config_path", required=True, type=Path, help="run configuration (JSON or YAML)")
    parsed, overrides = parser.parse_known_args(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        summary = Supervisor(parsed.config_path, overrides).run()
    except FileNotFoundError as error:
        sys.exit(f"pirl-train: --config_path: {error.filename}: no such file")
    except TrainingFailed as error:
        sys.exit(f"pirl-train: {error}")
    print(f"{summary['recipe']}: {summary['env_steps']} steps, {summary['updates']} updates")


if __name__ == "__main__":
    main()
