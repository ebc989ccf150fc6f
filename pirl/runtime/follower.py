"""The learner's other processes: they take part in every update, and serve, decide and write nothing."""

from __future__ import annotations

import torch
from lerobot.utils.random_utils import set_seed

from pirl.algorithms.processes import Processes
from pirl.runtime.agent import Agent, build_agent
from pirl.runtime.checkpoint import restore_run
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig
from pirl.runtime.offline import make_mixer

LEAVE = None
"""What the leading process tells instead of a number of updates when the run is over."""


class Follower:
    """One learner process beside the leading one."""

    def __init__(self, config: OnlineTrainConfig, processes: Processes) -> None:
        self._processes = processes
        torch.set_num_threads(config.learner_threads)
        set_seed(config.seed)
        if config.policy.device == "cuda":
            config.policy.device = f"cuda:{torch.cuda.current_device()}"
        agent = build_agent(config)
        self._algorithm = agent.algorithm
        self._algorithm.make_optimizers_and_scheduler()
        self._batches = self._algorithm.configure_data_iterator(make_mixer(config, agent), config.batch_size)
        if config.resume:
            restore_run(config, agent)
        train_together(agent, processes)

    def stop(self) -> None:
        """Nothing: the leading process, which gets the same signal, finishes its update first and tells."""

    def run(self) -> None:
        """Update whenever the leading process does, until it leaves.

        Raises:
            RuntimeError: when another process is gone, or silent for `learner_timeout_s`.
        """
        while (updates := self._processes.tell(LEAVE)) is not LEAVE:
            for _ in range(updates):
                self._algorithm.update(self._batches)


def train_together(agent: Agent, processes: Processes) -> None:
    """Let an agent's updates be those of all processes, which begin alike.

    Raises:
        ConfigError: when the algorithm updates in one process only, or the processes resume differently.
    """
    if processes.count == 1:
        return
    algorithm = agent.algorithm
    if not hasattr(algorithm, "processes"):
        raise ConfigError(f"learner_processes: algorithm.type={algorithm.name} updates in one process; use 1")
    if len(set(processes.gather(algorithm.optimization_step))) > 1:
        raise ConfigError("resume: not all learner processes see the same checkpoint; share output_dir")
    algorithm.processes = processes
    processes.align([*agent.policy.state_dict().values(), *algorithm.state_dict().values()])
    # Only the leading process's random numbers decide; hybrid mode's noise differs between processes.
    if not processes.leads:
        torch.manual_seed(torch.initial_seed() + processes.rank)
