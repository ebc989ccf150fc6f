"""Steps of runs from checkpoint to checkpoint, in one process or in several that shard the policy.

torchrun --standalone --nproc-per-node 2 -m tests.runtime.shared_checkpoint RUN.json FOLDER ROLLOUTS.pt ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer

from pirl.algorithms.processes import Processes
from pirl.runtime.agent import Agent, build_agent
from pirl.runtime.checkpoint import help_to_save, restore_run, save_run
from pirl.runtime.child import die_with_parent
from pirl.runtime.configuration import parse_config
from pirl.runtime.follower import begin_alike, train_together
from pirl.runtime.ingest import IntakeCounters
from tests.algorithms.rollouts import store


def advance(run: Path, folder: Path, transitions: list[dict] | None, processes: Processes) -> Agent:
    """As learner and followers do it: start or resume, one update, a checkpoint."""
    sharding = processes.count > 1
    words = ["--resume=true", f"--output_dir={folder}", f"--learner_sharding={sharding}".lower()]
    config = parse_config([f"--config_path={run}", *words])
    torch.manual_seed(config.seed)  # the critic's first weights
    agent = build_agent(config)
    train_together(agent, processes, sharding=config.learner_sharding)
    agent.algorithm.make_optimizers_and_scheduler()
    _, updates = restore_run(config, agent)
    begin_alike(agent, processes)
    torch.manual_seed(updates)
    online = ReplayBuffer(64, device="cpu", use_drq=False)
    if transitions is not None:
        store(transitions, online)
    agent.algorithm.update(agent.algorithm.configure_data_iterator(OnlineOfflineMixer(online), 64))
    if processes.leads:
        save_run(config, agent, IntakeCounters(env_steps=48 * (updates + 1)), updates + 1)
    else:
        help_to_save(agent)
    processes.in_step = False
    return agent


def main() -> None:
    die_with_parent()
    torch.set_num_threads(1)
    processes = Processes.join(cpu=True, timeout_s=600.0)
    words = sys.argv[1:]
    sys.argv = sys.argv[:1]
    for run, folder, rollouts in zip(words[::3], words[1::3], words[2::3], strict=True):
        transitions = torch.load(rollouts, weights_only=False) if processes.leads else None
        advance(Path(run), Path(folder), transitions, processes)
    processes.leave()


if __name__ == "__main__":
    main()
