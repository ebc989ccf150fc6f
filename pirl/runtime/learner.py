"""Learner process: takes transitions, updates the policy, publishes weights, writes checkpoints.

`pirl-learner --config_path run.json [--transport.port=50051]`

Several processes share the updates when a launcher starts several; the first one serves and decides:
`accelerate launch --multi_gpu --num_processes 4 -m pirl.runtime.learner --config_path run.json`
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from queue import Queue

import torch
from lerobot.rl.algorithms.configs import TrainingStats
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.trainer import RLTrainer
from lerobot.transport.utils import state_to_bytes
from lerobot.utils.random_utils import set_seed
from lerobot.utils.utils import init_logging

from pirl.algorithms.processes import Processes
from pirl.files import write_json_atomically
from pirl.runtime.agent import build_agent
from pirl.runtime.checkpoint import restore_run, save_run
from pirl.runtime.child import EXIT_STOPPED, die_with_parent
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig, parse_config
from pirl.runtime.follower import CHECKPOINT, LEAVE, PUBLISH, Follower, begin_alike, train_together
from pirl.runtime.history import TrainingHistory
from pirl.runtime.ingest import Intake, IntakeCounters, NotFiniteStop
from pirl.runtime.messages import with_control
from pirl.runtime.offline import make_mixer
from pirl.runtime.schema import transition_schema
from pirl.runtime.service import BroadcastLearnerService, ParameterBoard, start_server

MAX_UPDATES_PER_ROUND = 16
LEAVE_GRACE_S = 20.0


class Learner:
    """One learner: an algorithm-agnostic loop around LeRobot's `RLTrainer`."""

    def __init__(self, config: OnlineTrainConfig, processes: Processes | None = None) -> None:
        self._config = config
        self._processes = processes or Processes()
        self._stop = threading.Event()
        self._output_dir = Path(config.output_dir)
        torch.set_num_threads(config.learner_threads)
        set_seed(config.seed)
        self._agent = build_agent(config)
        self._algorithm = self._agent.algorithm
        self._on_policy = hasattr(self._algorithm, "rollout_ready")
        schema = transition_schema(config, self._agent)  # acts, which alone it could not with a part
        train_together(self._agent, self._processes, sharding=config.learner_sharding)
        mixer = make_mixer(config, self._agent)
        self._buffer: ReplayBuffer = mixer.online_buffer
        self._trainer = RLTrainer(self._algorithm, mixer, config.batch_size)
        self._intake = Intake(
            Queue(config.transport.max_queued_messages),
            Queue(),
            self._buffer,
            schema,
            not_finite=config.not_finite,
        )
        self._updates = 0
        if config.resume:
            self._intake.counters, self._updates = restore_run(config, self._agent)
        begin_alike(self._agent, self._processes)
        self._board = ParameterBoard()
        self._history = TrainingHistory.open(config, self._intake.counters)
        self._checkpointed_at = self._intake.counters.env_steps
        self._next_checkpoint = self._checkpoint_after(self._checkpointed_at)
        self._idle_s = self._update_s = 0.0
        self._pushed_at = -math.inf

    def stop(self) -> None:
        """Ask the learner to write a checkpoint and leave."""
        self._stop.set()

    def run(self) -> None:
        """Serve and train until the budget of environment steps is used up, or success is reached.

        Raises:
            OSError: when the port is taken.
        """
        shutdown = threading.Event()
        config = self._config
        service = BroadcastLearnerService(
            self._board,
            shutdown,
            self._intake.transition_queue,
            self._intake.interaction_queue,
            config.transport.poll_s,
            config.transport.max_message_bytes,
        )
        server, port = start_server(
            service, config.transport.host, config.transport.port, config.actors, config.transport.tls
        )
        self._publish()
        write_json_atomically(self._output_dir / "learner.json", {"port": port, "pid": os.getpid()})
        logging.info("[LEARNER] listening on %s:%d", config.transport.host, port)
        try:
            while not self._stop.is_set() and not self._done():
                self._round()
            self._publish(last=True)
            if self._intake.counters.env_steps > self._checkpointed_at:
                self._checkpoint()
            self._processes.tell(LEAVE)
            self._intake.counters.refused_messages += service.refused_streams
            self._history.finish(self._intake, self._updates, self._update_s, self._idle_s)
        except NotFiniteStop:
            self._processes.tell(LEAVE)
            raise
        finally:
            # Ends SAC's thread that samples in advance: still at it when Python ends, it aborts the process.
            self._trainer.reset_data_iterator()
            server.stop(grace=LEAVE_GRACE_S).wait()
            shutdown.set()
            logging.info("[LEARNER] server stopped")
            (self._output_dir / "learner.json").unlink(missing_ok=True)

    def _round(self) -> None:
        """Take what has arrived, update if there is enough, publish and write checkpoints when due.

        Nothing is taken beyond the budget: while the last updates are made up for, actors still collect. Nor,
        on-policy, beyond one update's rollouts: the others would be stale by the time they are used.
        """
        waited = time.perf_counter()
        timeout = 0.0 if self._owed_updates() else self._config.transport.poll_s
        self._intake.take(timeout, self._config.budget.env_steps, self._has_enough)
        self._idle_s += time.perf_counter() - waited
        self._history.note(self._intake, self._updates)
        for _ in range(self._processes.tell(min(self._owed_updates(), MAX_UPDATES_PER_ROUND))):
            self._update()
        if self._on_policy or time.monotonic() - self._pushed_at > self._config.transport.push_every_s:
            self._publish_if_newer()
        if self._intake.counters.env_steps >= self._next_checkpoint and not self._owed_updates():
            self._checkpoint()

    def _has_enough(self) -> bool:
        return self._on_policy and self._owed_updates() > 0

    def _owed_updates(self) -> int:
        """Updates the algorithm is due for the transitions taken so far."""
        if self._on_policy:
            return int(self._algorithm.rollout_ready(self._buffer))
        if len(self._buffer) < self._config.buffer.learning_starts:
            return 0
        due = self._intake.counters.transitions * self._config.buffer.updates_per_transition
        return max(0, int(due) - self._updates)

    def _update(self) -> None:
        began = time.perf_counter()
        stats = self._trainer.training_step()
        check_finite(stats, self._intake.counters, self._config.not_finite)
        self._update_s += time.perf_counter() - began
        self._updates += 1
        self._history.log_update(self._intake, self._updates, stats, time.perf_counter() - began)

    def _done(self) -> bool:
        budget = self._config.budget
        spent = self._intake.counters.env_steps >= budget.env_steps
        return (spent or self._intake.succeeds(budget.stop_at_success)) and not self._owed_updates()

    def _publish_if_newer(self) -> None:
        if self._updates != self._published_updates:
            self._publish()

    def _read_whole(self, purpose: str) -> None:
        """Have the other processes help to put a sharded policy together."""
        if self._processes.in_step:
            self._processes.tell(purpose)

    def _publish(self, last: bool = False) -> None:
        self._read_whole(PUBLISH)
        version = getattr(self._algorithm, "policy_version", self._updates)
        weights = with_control(self._algorithm.get_weights(), policy_version=version, finished=last)
        self._board.publish(state_to_bytes(weights), last=last)
        self._published_updates = self._updates
        self._pushed_at = time.monotonic()

    def _checkpoint_after(self, env_steps: int) -> float:
        """Environment steps at which the next checkpoint is due."""
        spacing = self._config.budget.env_steps / max(1, self._config.budget.checkpoints)
        return (math.floor(env_steps / spacing) + 1) * spacing

    def _checkpoint(self) -> None:
        self._read_whole(CHECKPOINT)
        rate = self._intake.recent_success_rate
        folder = save_run(
            self._config,
            self._agent,
            self._intake.counters,
            self._updates,
            success_rate=rate if math.isfinite(rate) else None,
        )
        self._history.note_checkpoint(folder, self._intake)
        self._checkpointed_at = self._intake.counters.env_steps
        self._next_checkpoint = self._checkpoint_after(self._checkpointed_at)
        logging.info("[LEARNER] checkpoint %s", folder.name)


def check_finite(stats: TrainingStats, counters: IntakeCounters, not_finite: str) -> None:
    """Count an update whose losses or gradients were NaN or infinite, and stop where asked to.

    PI-RL leaves such minibatches out. SAC takes the step all the same: its weights are lost, so it stops.

    Raises:
        NotFiniteStop: when the run cannot or shall not go on.
    """
    skipped = stats.extra.get("grad_norm/skipped")
    if not skipped and all(math.isfinite(value) for value in stats.losses.values()):
        return
    counters.not_finite_updates += 1
    logging.error("[LEARNER] an update met NaN or infinity")
    if skipped is None or not_finite == "stop":
        raise NotFiniteStop(
            "losses or gradients of an update are not finite; the last checkpoint is good: look at rewards "
            "and observations, lower the learning rate, resume"
        )


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-learner`."""
    try:
        config = parse_config(args)
        processes = Processes.join(cpu=config.policy.device == "cpu", timeout_s=config.learner_timeout_s)
        log_dir = config.output_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        init_logging(
            log_file=log_dir / (f"learner_{processes.rank}.log" if processes.rank else "learner.log")
        )
        if processes.count > 1:
            die_with_parent()  # torchrun leaves its processes behind when it is killed
        learner = Learner(config, processes) if processes.leads else Follower(config, processes)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: learner.stop())
        learner.run()
        processes.leave()
    except (ConfigError, OSError) as error:
        sys.exit(f"pirl-learner: {error}")
    except NotFiniteStop as error:
        print(f"pirl-learner: {error}", file=sys.stderr)
        sys.exit(EXIT_STOPPED)


if __name__ == "__main__":
    main()
