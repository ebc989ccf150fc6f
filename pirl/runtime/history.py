"""What a training run leaves behind: its learning curve, metrics and times, on disk and in MLflow."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import draccus
from lerobot.rl.algorithms.configs import TrainingStats

from pirl.files import read_json_lines, write_json_atomically
from pirl.runtime.configuration import OnlineTrainConfig
from pirl.runtime.ingest import Intake, IntakeCounters
from pirl.tracking.names import standard_metrics
from pirl.tracking.tracker import RunTracker

CURVE_FILE = "curve.jsonl"
METRICS_FILE = "metrics.jsonl"
STATUS_FILE = "status.json"
SUMMARY_FILE = "train.json"
LOG_EVERY_S = 5.0


class TrainingHistory:
    """Appends a run's progress to JSON lines, mirrors it to MLflow, and sums it up at the end.

    The x axis of everything is environment steps. On resume, lines beyond the checkpoint are dropped, so
    curves continue without a gap or a repeat.
    """

    def __init__(
        self,
        config: OnlineTrainConfig,
        tracker: RunTracker | None,
        wall_s_before: float,
        episodes_before: int = 0,
    ) -> None:
        self._config = config
        self._folder = Path(config.output_dir)
        self._tracker = tracker
        self._began = time.monotonic() - wall_s_before
        self._noted_episodes = episodes_before
        self._logged_at = -math.inf
        self._pending: list[dict[str, float]] = []

    @classmethod
    def open(cls, config: OnlineTrainConfig, counters: IntakeCounters) -> TrainingHistory:
        """Begin a history, or continue one cut back to `counters`."""
        folder = Path(config.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        wall_s = 0.0
        for name in (CURVE_FILE, METRICS_FILE):
            kept = [
                line for line in read_json_lines(folder / name) if line["env_steps"] <= counters.env_steps
            ]
            if counters.env_steps == 0:
                kept = []
            wall_s = max([wall_s, *(line["wall_s"] for line in kept)])
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in kept))
        tracker = None
        if config.tracking_run is not None:
            tracker = RunTracker.for_stage(
                config.tracking_run,
                stage="learner",
                recipe=config.recipe,
                algorithm=config.algorithm.type,
                policy=config.policy.type,
                seed=config.seed or 0,
                suite=config.env.task,
                variant=getattr(config.algorithm, "variant", None),
                folder=folder,
                settings=draccus.encode(config),
                last_step=counters.env_steps,
            )
        return cls(config, tracker, wall_s, counters.episodes)

    def note(self, intake: Intake, updates: int) -> None:
        """Record progress if new episodes have arrived; always refresh the supervisor's status file."""
        counters = intake.counters
        now = time.monotonic()
        if counters.episodes != self._noted_episodes:
            self._noted_episodes = counters.episodes
            point = {
                "env_steps": counters.env_steps,
                "episodes": counters.episodes,
                "success_rate": intake.recent_success_rate,
                "wall_s": self._wall_s(),
            }
            self._append(CURVE_FILE, point)
        if now - self._logged_at > LOG_EVERY_S:
            self._logged_at = now
            status = {
                "env_steps": counters.env_steps,
                "updates": updates,
                "episodes": counters.episodes,
                "budget": self._config.budget.env_steps,
            }
            write_json_atomically(self._folder / STATUS_FILE, status)

    def log_update(self, intake: Intake, updates: int, stats: TrainingStats, seconds: float) -> None:
        """Record one update's statistics; off-policy recipes are averaged over a few seconds."""
        counters = intake.counters
        metrics = standard_metrics(stats.to_log_dict()) | {"time/update_s": seconds}
        if counters.recent:
            metrics["rollout/success_rate"] = intake.recent_success_rate
        for task_id, rate in intake.success_rate_of_task.items():
            metrics[f"rollout/success_rate/{task_id}"] = rate
        self._pending.append({k: float(v) for k, v in metrics.items() if math.isfinite(float(v))})
        if hasattr(self._config.algorithm, "episodes_per_update") or len(self._pending) >= 50:
            self._flush(counters, updates)

    def note_checkpoint(self, folder: Path, intake: Intake) -> None:
        """Record that a checkpoint was written."""
        if self._tracker is not None:
            steps = intake.counters.env_steps
            self._tracker.log_metrics({"checkpoint/env_steps": steps}, steps)

    def finish(self, intake: Intake, updates: int, update_s: float, idle_s: float) -> None:
        """Write the summary `train.json` and close the MLflow run."""
        counters = intake.counters
        if self._pending:
            self._flush(counters, updates)
        wall_s = self._wall_s()
        actors = intake.actor_totals.values()
        summary = {
            "recipe": self._config.recipe,
            "algorithm": self._config.algorithm.type,
            "variant": getattr(self._config.algorithm, "variant", None),
            "policy": self._config.policy.type,
            "seed": self._config.seed,
            "env_steps": counters.env_steps,
            "episodes": counters.episodes,
            "updates": updates,
            "wall_s": wall_s,
            "refused_messages": counters.refused_messages,
            "repeated_episodes": counters.repeated_episodes,
            "not_finite_episodes": counters.not_finite_episodes,
            "not_finite_updates": counters.not_finite_updates,
            "missing_episodes": intake.missing_episodes,
            "lost_episodes": sum(actor["lost_episodes"] for actor in actors),
            "timings_s": {
                "update": update_s,
                "learner_idle": idle_s,
                "actor_inference": sum(actor["inference_s"] for actor in actors),
                "actor_waiting_for_simulation": sum(actor["waiting_s"] for actor in actors),
            },
            "curve": read_json_lines(self._folder / CURVE_FILE),
            "metrics": read_json_lines(self._folder / METRICS_FILE),
        }
        write_json_atomically(self._folder / SUMMARY_FILE, summary)
        if self._tracker is not None:
            self._tracker.finish()

    def _flush(self, counters: IntakeCounters, updates: int) -> None:
        keys = sorted({key for metrics in self._pending for key in metrics})
        means = {}
        for key in keys:
            values = [metrics[key] for metrics in self._pending if key in metrics]
            means[key] = sum(values) / len(values)
        self._pending.clear()
        self._append(
            METRICS_FILE,
            {"env_steps": counters.env_steps, "updates": updates, "wall_s": self._wall_s(), **means},
        )
        logging.info(
            "[LEARNER] update %d at %d steps: %s",
            updates,
            counters.env_steps,
            ", ".join(f"{key} {value:.4g}" for key, value in means.items()),
        )
        if self._tracker is not None:
            self._tracker.log_metrics(means, counters.env_steps)

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with open(self._folder / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _wall_s(self) -> float:
        return time.monotonic() - self._began
