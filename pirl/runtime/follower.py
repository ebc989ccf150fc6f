"""The learner's other processes: they take part in every update, and serve, decide and write nothing."""

from __future__ import annotations

import torch
from lerobot.utils.random_utils import set_seed

from pirl.algorithms.processes import Processes
from pirl.runtime.agent import Agent, build_agent
from pirl.runtime.checkpoint import help_to_save, restore_run
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig
from pirl.runtime.offline import make_mixer

LEAVE = None
"""What the leading process tells instead of a number of updates when the run is over."""
PUBLISH, CHECKPOINT = "publish", "checkpoint"
"""What it tells when it is about to read whole weights of a sharded policy, which all put together."""


class Follower:
    """One learner process beside the leading one."""

    def __init__(self, config: OnlineTrainConfig, processes: Processes) -> None:
        self._processes = processes
        torch.set_num_threads(config.learner_threads)
        set_seed(config.seed)
        if config.policy.device == "cuda":
            config.policy.device = f"cuda:{torch.cuda.current_device()}"
        self._agent = agent = build_agent(config)
        train_together(agent, processes, sharding=config.learner_sharding)
        self._algorithm = agent.algorithm
        self._algorithm.make_optimizers_and_scheduler()
        self._batches = self._algorithm.configure_data_iterator(make_mixer(config, agent), config.batch_size)
        if config.resume:
            restore_run(config, agent)
        begin_alike(agent, processes)

    def stop(self) -> None:
        """Nothing: the leading process, which gets the same signal, finishes its update first and tells."""

    def run(self) -> None:
        """Do as the leading process tells, until it leaves.

        Raises:
            RuntimeError: when another process is gone, or silent for `learner_timeout_s`.
        """
        while (told := self._processes.tell(LEAVE)) is not LEAVE:
            if told == PUBLISH:
                self._algorithm.get_weights()
            elif told == CHECKPOINT:
                help_to_save(self._agent)
            else:
                for _ in range(told):
                    self._algorithm.update(self._batches)


def train_together(agent: Agent, processes: Processes, sharding: bool = False) -> None:
    """Let an agent's updates be those of all processes, and its policy the same in all.

    Args:
        agent: has no optimizers yet.
        processes: those that take part.
        sharding: keep only a part of the policy in each.

    Raises:
        ConfigError: when the algorithm updates in one process only, or there is but one to shard over.
    """
    algorithm = agent.algorithm
    if sharding and not hasattr(algorithm, "shard"):
        raise ConfigError(f"learner_sharding: algorithm.type={algorithm.name} shards nothing; use false")
    if processes.count == 1:
        if sharding:
            raise ConfigError(
                "learner_sharding: one learner process keeps all; give learner_processes=2 or more"
            )
        return
    if not hasattr(algorithm, "processes"):
        raise ConfigError(f"learner_processes: algorithm.type={algorithm.name} updates in one process; use 1")
    algorithm.processes = processes
    processes.align(agent.policy.state_dict().values())
    if sharding:
        algorithm.shard()


def begin_alike(agent: Agent, processes: Processes) -> None:
    """Start from the leading process's state, restored or new.

    Raises:
        ConfigError: when the processes resume differently.
    """
    if processes.count == 1:
        return
    algorithm = agent.algorithm
    if len(set(processes.gather(algorithm.optimization_step))) > 1:
        raise ConfigError("resume: not all learner processes see the same checkpoint; share output_dir")
    processes.align(algorithm.state_dict().values())
    # Only the leading process's random numbers decide; hybrid mode's noise differs between processes.
    if not processes.leads:
        torch.manual_seed(torch.initial_seed() + processes.rank)
