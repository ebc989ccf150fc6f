"""Actor process: rolls the policy out in LIBERO and streams complete episodes to the learner.

`pirl-actor --config_path run.json --transport.port=50051 [--actor_id=0]`
"""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from typing import cast

import torch
from lerobot.utils.random_utils import set_seed
from lerobot.utils.utils import init_logging

from pirl.algorithms.acting import make_action_sampler
from pirl.envs.starts import StartKind
from pirl.envs.workers import EnvWorkers
from pirl.runtime.agent import Agent, build_agent
from pirl.runtime.client import LearnerClient, LearnerUnreachable
from pirl.runtime.configuration import (
    EPISODES_PER_INCARNATION,
    ConfigError,
    OnlineTrainConfig,
    parse_config,
)
from pirl.runtime.rollout import Episode, EpisodeCollector, cycle_starts


class Actor:
    """One actor: takes weights, collects its share of episodes, sends them, until the run is over."""

    def __init__(self, config: OnlineTrainConfig) -> None:
        self._config = config
        self._actor_id = config.actor_id
        self._stop = threading.Event()
        self._policy_version = -1
        self._env_steps = 0

    def stop(self) -> None:
        """Ask the actor to leave after the decision in hand."""
        self._stop.set()

    def run(self) -> None:
        """Roll out until the learner says the run is over.

        Raises:
            LearnerUnreachable: when the learner is not there, or goes away.
        """
        config = self._config
        set_seed((config.seed or 0) + 1000 * (self._actor_id + 1))
        torch.set_num_threads(1)
        agent = build_agent(config)
        agent.policy.eval()
        client = LearnerClient(config.transport)
        client.connect()
        tasks = [(config.env.task, task_id) for task_id in config.rollout.task_ids]
        rollout = config.rollout
        first_episode = config.incarnation * EPISODES_PER_INCARNATION
        sampler = make_action_sampler(agent.algorithm)
        workers = EnvWorkers(
            rollout.workers,
            tasks,
            chunk_size=rollout.chunk_size,
            max_steps=rollout.max_steps,
            fidelity=rollout.fidelity,
            height=config.env.observation_height,
            width=config.env.observation_width,
            control_mode=config.env.control_mode,
            cameras=config.cameras,
            scene_state=sampler.needs_scene_state,
        )
        try:
            collector = EpisodeCollector(
                sampler,
                agent.processing,
                workers,
                cycle_starts(
                    tasks,
                    cast(StartKind, rollout.starts),
                    rollout.seed_base + first_episode * config.actors,
                    self._actor_id,
                    config.actors,
                    rollout.episodes_per_start,
                ),
                actor_id=self._actor_id,
                first_episode=first_episode,
            )
            for episode in self._episodes(collector, client, agent):
                self._send(client, collector, episode)
        finally:
            workers.close()
            client.close()

    def _episodes(
        self, collector: EpisodeCollector, client: LearnerClient, agent: Agent
    ) -> Iterator[Episode]:
        """Collect share after share, each under one version of the weights."""
        share = self._share(agent)
        for round_index in itertools.count():
            self._update_weights(client, agent, wait=round_index == 0 or self._config.rollout.synchronous)
            if self._leaving(client):
                return
            yield from collector.collect(share, self._policy_version, lambda: self._leaving(client))

    def _share(self, agent: Agent) -> int:
        """Episodes of one round: an equal part of an update, or one per worker without synchronisation."""
        per_update = getattr(agent.algorithm.config, "episodes_per_update", None)
        if not self._config.rollout.synchronous or per_update is None:
            return self._config.rollout.workers
        whole, rest = divmod(per_update, self._config.actors)
        return whole + (1 if self._actor_id < rest else 0)

    def _update_weights(self, client: LearnerClient, agent: Agent, wait: bool) -> None:
        """Load the newest weights; with `wait`, block until some arrive or the run is over."""
        while not self._leaving(client):
            weights = client.take_weights(timeout=self._config.transport.poll_s if wait else 0.0)
            if weights is not None:
                agent.algorithm.load_weights(weights.state, device=self._config.policy.device)
                agent.policy.eval()
                self._policy_version = weights.policy_version
                return
            if not wait:
                return

    def _leaving(self, client: LearnerClient) -> bool:
        return self._stop.is_set() or client.finished

    def _send(self, client: LearnerClient, collector: EpisodeCollector, episode: Episode) -> None:
        self._env_steps += episode.env_steps
        suite, task_id = episode.task
        interaction = {
            "Episodic reward": float(episode.success),
            "Interaction step": self._env_steps,
            "actor_id": self._actor_id,
            "suite": suite,
            "task_id": task_id,
            "start_seed": episode.start.seed,
            "success": episode.success,
            "env_steps": episode.env_steps,
            "policy_version": self._policy_version,
            "wall_s": episode.wall_s,
            "inference_s": collector.inference_s,
            "waiting_s": collector.waiting_s,
            "lost_episodes": collector.lost_episodes,
        }
        client.send_episode(episode.transitions, interaction)
        logging.info(
            "[ACTOR %d] %s task %d %s in %d steps (weights %d)",
            self._actor_id,
            suite,
            task_id,
            "success" if episode.success else "failure",
            episode.env_steps,
            self._policy_version,
        )


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-actor`."""
    try:
        config = parse_config(args)
        log_dir = config.output_dir / "logs"
        log_dir.mkdir(parents=True, exist_ok=True)
        init_logging(log_file=log_dir / f"actor_{config.actor_id}.log")
        actor = Actor(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: actor.stop())
        actor.run()
        logging.info("[ACTOR %d] left", config.actor_id)
    except (ConfigError, LearnerUnreachable) as error:
        sys.exit(f"pirl-actor: {error}")


if __name__ == "__main__":
    main()
