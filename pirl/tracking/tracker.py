"""What a stage uses to record its run in MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pirl.tracking.journal import Journal
from pirl.tracking.load import LoadSampler
from pirl.tracking.names import ENV_STEP_KEYS, evaluation_metrics, standard_metrics
from pirl.tracking.revision import config_hash, git_sha
from pirl.tracking.sending import BackgroundSender
from pirl.tracking.store import tracking_uri

FINISH_TIMEOUT_S = 60.0


class RunTracker:
    """One MLflow run; every value stands against environment steps.

    Calls return at once: events go to a journal in the run's folder and from there to the store. Use it as a
    context manager, or call `finish`.
    """

    def __init__(self, journal: Journal, uri: str) -> None:
        self._journal = journal
        self._uri = uri
        self._env_steps = 0
        self._open = True
        self._sender = BackgroundSender(journal, uri)
        self._sender.wake()
        self._load = LoadSampler(lambda values: self._log(values, self._env_steps))

    @classmethod
    def for_stage(
        cls,
        pipeline: str,
        *,
        stage: str,
        folder: Path,
        recipe: str | None = None,
        algorithm: str | None = None,
        variant: str | None = None,
        policy: str | None = None,
        suite: str | None = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        last_step: int | None = None,
        uri: str | None = None,
    ) -> RunTracker:
        """Begin a stage's child run, or go on with the one that was interrupted in `folder`.

        Args:
            pipeline: name of the pipeline run (stem of the config file); its parent run is found or created.
            stage: `demos`, `replay`, `warm_start`, `train`, `learner`, `select`, `smoke`, `suites`, ...
            folder: where the journal is kept.
            recipe: `warm_start`, `pi_rl_flow_sde`, `pi_rl_flow_noise`, `sac` or `replay`.
            algorithm: `pi_rl`, `sac`, `bc` or `replay`.
            variant: `flow_sde` or `flow_noise`.
            policy: LeRobot's policy type.
            suite: LIBERO suite that is trained on.
            seed: of the run.
            settings: recorded as parameters, and hashed into the tag `config_hash`.
            last_step: environment steps of the checkpoint that training goes on from; curves end there.
            uri: of the store; default `tracking_uri()`.
        """
        tags = {
            "stage": stage,
            "recipe": recipe,
            "algorithm": algorithm,
            "variant": variant,
            "policy": policy,
            "suite": suite,
            "seed": seed,
            "git_sha": git_sha(),
            "config_hash": None if settings is None else config_hash(settings),
        }
        parts = [stage, recipe if recipe != stage else None, None if seed is None else f"seed{seed}"]
        name = "-".join(part for part in parts if part)
        return cls._open_run(pipeline, name, tags, settings, folder, uri, last_step)

    @classmethod
    def for_pipeline(
        cls, pipeline: str, *, folder: Path, settings: Mapping[str, Any] | None = None, uri: str | None = None
    ) -> RunTracker:
        """The parent run itself: for headline numbers and the report."""
        tags = {"git_sha": git_sha(), "config_hash": None if settings is None else config_hash(settings)}
        return cls._open_run(pipeline, None, tags, None, folder, uri)

    @classmethod
    def _open_run(
        cls,
        pipeline: str,
        name: str | None,
        tags: dict[str, Any],
        settings: Mapping[str, Any] | None,
        folder: Path,
        uri: str | None,
        last_step: int | None = None,
    ) -> RunTracker:
        run = {
            "pipeline": pipeline,
            "name": name,
            "tags": {key: str(value) for key, value in tags.items() if value is not None},
            "params": {} if settings is None else _flat(settings),
        }
        return cls(Journal.for_run(Path(folder), run, last_step), uri or tracking_uri())

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record `metrics` at `step` environment steps; LeRobot's SAC names become the shared ones."""
        self._env_steps = max(self._env_steps, step)
        self._log(standard_metrics(dict(metrics)), step)

    def log_dict(
        self,
        d: Mapping[str, Any],
        step: int | None = None,
        mode: str = "train",
        custom_step_key: str | None = None,
    ) -> None:
        """What LeRobot's learner calls on its logger.

        Its two step keys are brought onto one axis: `Interaction step` counts environment steps; values that
        come with `Optimization step` are put at the latest environment step known, that count among them.

        Raises:
            ValueError: unless `mode` is `train` or `eval`, and `step` or `custom_step_key` is given.
        """
        if mode not in {"train", "eval"}:
            raise ValueError(f"log_dict: mode {mode!r} is not one of train, eval")
        if step is None and custom_step_key is None:
            raise ValueError("log_dict: give step or custom_step_key")
        values = {key: value for key, value in d.items() if isinstance(value, int | float)}
        for key in ENV_STEP_KEYS:
            if key in values:
                step = int(values.pop(key))
        values = standard_metrics(values)
        if mode == "eval":
            values = {f"eval/{key}": value for key, value in values.items()}
        self.log_metrics(values, self._env_steps if step is None else step)

    def log_evaluation(self, summary: Mapping[str, Any], protocol: str, step: int) -> None:
        """Record an evaluation summary (`suites`, `average_success_rate`) under `eval/...`.

        Args:
            summary: what the evaluation stage writes as JSON.
            protocol: `suites`, or the name of another test such as `smoke` or `smoke_wide`.
            step: environment steps that the tested policy was trained for.
        """
        self.log_metrics(evaluation_metrics(summary, protocol), step)

    def log_checkpoint(
        self, name: str, path: Path, step: int, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Record a checkpoint as a logged model (no weights are copied), with the metric that ranks it.

        Args:
            name: of the model, e.g. `pi_rl_flow_sde-0020000`.
            path: the checkpoint's folder.
            step: environment steps it was trained for.
            metrics: usually {"select/success_rate": ...}.
        """
        self._append(
            {
                "event": "checkpoint",
                "name": name,
                "path": str(path),
                "step": int(step),
                "values": {key: float(value) for key, value in (metrics or {}).items()},
                "tags": self._journal.first()["tags"],
            }
        )

    def log_artifact(self, path: Path) -> None:
        """Let the store keep a copy of a small file."""
        self._append({"event": "artifact", "path": str(Path(path).resolve())})

    def finish(self, status: str = "FINISHED", timeout_s: float = FINISH_TIMEOUT_S) -> bool:
        """End the run and wait until the store has everything, but no longer than `timeout_s`.

        Args:
            status: `FINISHED`, `FAILED` or `KILLED`.
            timeout_s: after this, what is left stays in the journal, to be sent by the next stage's sweep.

        Returns:
            Whether the store has everything.
        """
        if not self._open:
            return True
        self._load.stop()
        self._append({"event": "end", "status": status})
        self._open = False
        complete = self._sender.stop(timeout_s)
        if complete:
            self._journal.close()
        else:
            logging.warning(
                "tracking: %d events wait in %s; `python -m pirl.tracking.sending %s` sends them to %s",
                self._journal.unsent(),
                self._journal.path,
                self._journal.path.parent,
                self._uri,
            )
        return complete

    def __enter__(self) -> RunTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish("FINISHED" if kind is None else "FAILED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        if values:
            numbers = {key: float(value) for key, value in values.items()}
            self._append({"event": "metrics", "step": int(step), "values": numbers})

    def _append(self, event: dict[str, Any]) -> None:
        if not self._open:
            raise RuntimeError(f"tracking: {self._journal.path}: the run has been finished")
        self._journal.append({**event, "time_ms": time.time_ns() // 1_000_000})
        self._sender.wake()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
