"""A real run whose learner is two processes: it ends as with one, and the death of either costs a restart."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lerobot.rl.algorithms.sac import SACAlgorithmConfig
from safetensors.torch import load_file

from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.processes import Processes
from pirl.runtime.configuration import ConfigError, latest_checkpoint
from pirl.runtime.follower import train_together
from pirl.runtime.supervisor import Supervisor
from tests.algorithms.test_factory import make_gaussian_actor
from tests.runtime.test_chaos import descendants, env_steps, is_alive, run_file, supervise
from tests.runtime.test_faults import change, wait_for


def make_run(folder: Path, policy: Path, processes: int, budget: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = run_file(folder, policy)
    change(
        path,
        actors=1,
        learner_processes=processes,
        learner_threads=1,
        budget={"env_steps": budget, "checkpoints": budget // 64},
        algorithm={"actor_lr": 1e-4, "minibatch_size": 6},
    )
    return path


def final_weights(path: Path) -> dict[str, torch.Tensor]:
    output = Path(json.loads(path.read_text())["output_dir"])
    assert json.loads((output / "train.json").read_text())["updates"] == 2
    return load_file(latest_checkpoint(output) / "pretrained_model" / "model.safetensors")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_the_policy_of_one(tmp_path, start_policy):
    weights = []
    for processes in (1, 2):
        path = make_run(tmp_path / str(processes), start_policy, processes, budget=128)
        Supervisor(path, progress=False).run()
        weights.append(final_weights(path))
    one, two = weights
    for key, tensor in one.items():
        if not key.endswith("attn.qkv.bias"):  # see tests/algorithms/test_processes.py
            assert (two[key] - tensor).abs().max() < 1e-5, key
    start = load_file(start_policy / "model.safetensors")
    assert max(float((one[key] - tensor).abs().max()) for key, tensor in start.items()) > 1e-4


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["RANK=0", "RANK=1"])
def test_the_death_of_a_learner_process_costs_a_restart(tmp_path, start_policy, victim):
    path = make_run(tmp_path, start_policy, processes=2, budget=1024)
    supervisor = supervise(path, tmp_path / "supervisor.log")
    wait_for(lambda: env_steps(tmp_path) > 128)
    below = descendants(supervisor.pid)
    learners = [pid for pid in below if victim in Path(f"/proc/{pid}/environ").read_text().split("\0")]
    os.kill(learners[0], signal.SIGKILL)
    assert supervisor.wait(timeout=600) == 0, (tmp_path / "supervisor.log").read_text()
    assert "1 restarts left" not in (tmp_path / "supervisor.log").read_text()
    assert json.loads((tmp_path / "run" / "train.json").read_text())["env_steps"] >= 1024
    time.sleep(2.0)
    assert not [pid for pid in below if is_alive(pid)]


def test_sac_updates_in_one_process():
    policy = make_gaussian_actor()
    algorithm = make_algorithm(SACAlgorithmConfig.from_policy_config(policy.config), policy)
    two = Processes()
    two.count = 2
    with pytest.raises(ConfigError, match=r"learner_processes.*sac updates in one process"):
        train_together(SimpleNamespace(policy=policy, algorithm=algorithm), two)
