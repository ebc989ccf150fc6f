"""A real run whose learner is two processes: it ends as with one, and the death of either costs a restart."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from lerobot.rl.algorithms.sac import SACAlgorithmConfig
from safetensors.torch import load_file

from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.processes import Processes
from pirl.runtime.configuration import ConfigError, latest_checkpoint
from pirl.runtime.follower import train_together
from pirl.runtime.supervisor import Supervisor
from tests.algorithms.test_factory import make_gaussian_actor
from tests.runtime.test_chaos import SUPERVISE, descendants, env_steps, is_alive, run_file
from tests.runtime.test_faults import change, listens, wait_for

ACTOR = "tests.runtime.processes.recorded_actor"
STEPS_PER_UPDATE = 44


def make_run(folder: Path, policy: Path, processes: int, updates: int, sharding: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    path = run_file(folder, policy)
    change(
        path,
        actors=1,
        learner_processes=processes,
        learner_sharding=sharding,
        learner_threads=1,
        budget={"env_steps": updates * STEPS_PER_UPDATE, "checkpoints": updates},
        algorithm={"actor_lr": 1e-4, "minibatch_size": 5, "epochs": 2},
        transport={"reconnect_timeout_s": 900.0},
    )
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_the_policy_of_one(tmp_path, start_policy):
    runs = []
    for processes, sharding in ((1, False), (2, False), (2, True)):
        folder = tmp_path / f"{processes} {sharding}"
        path = make_run(folder, start_policy, processes, updates=2, sharding=sharding)
        summary = Supervisor(path, progress=False, actor_module=ACTOR).run()
        assert (summary["updates"], summary["refused_messages"]) == (2, 0)
        last = latest_checkpoint(path.parent / "run")
        runs.append(load_file(last / "pretrained_model" / "model.safetensors"))
    one, *several = runs
    for two in several:
        assert two.keys() == one.keys()
        for key, tensor in one.items():
            if not key.endswith("attn.qkv.bias"):  # see tests/algorithms/test_processes.py
                assert (two[key] - tensor).abs().max() < 1e-5, key
    start = load_file(start_policy / "model.safetensors")
    assert max(float((one[key] - tensor).abs().max()) for key, tensor in start.items()) > 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_torchrun_starts_the_learner_and_an_actor_joins_it(tmp_path, start_policy):
    path, updates = make_run(tmp_path, start_policy, processes=2, updates=2), 2
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    with open(tmp_path / "log", "wb") as log:

        def start(*module: str, port: int = 0) -> subprocess.Popen:
            words = [sys.executable, "-m", *module, f"--config_path={path}", f"--transport.port={port}"]
            return subprocess.Popen(words, stdout=log, stderr=log)

        programs = [start(*torchrun, "pirl.runtime.learner")]
        try:
            wait_for(lambda: listens(tmp_path))
            port = json.loads((tmp_path / "run" / "learner.json").read_text())["port"]
            programs.append(start(ACTOR, port=port))
            statuses = [program.wait(timeout=300) for program in programs]
        finally:
            for program in programs:
                program.kill()
    assert statuses == [0, 0], (tmp_path / "log").read_text()
    summary = json.loads((tmp_path / "run" / "train.json").read_text())
    assert (summary["updates"], summary["refused_messages"]) == (updates, 0)
    assert (tmp_path / "run" / "logs" / "learner_1.log").is_file()


@pytest.mark.chaos
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("victim", ["RANK=0", "RANK=1"])
def test_the_death_of_a_learner_process_costs_a_restart(tmp_path, start_policy, victim):
    path, updates = make_run(tmp_path, start_policy, processes=2, updates=8), 8
    script = SUPERVISE.replace("progress=False", f"progress=False, actor_module={ACTOR!r}")
    with open(tmp_path / "supervisor.log", "wb") as log:
        supervisor = subprocess.Popen([sys.executable, "-c", script, str(path), "1"], stdout=log, stderr=log)
    try:
        wait_for(lambda: env_steps(tmp_path) >= 2 * STEPS_PER_UPDATE, seconds=900)
        below = descendants(supervisor.pid)
        [learner] = [pid for pid in below if victim in Path(f"/proc/{pid}/environ").read_text().split("\0")]
        os.kill(learner, signal.SIGKILL)
        assert supervisor.wait(timeout=900) == 0, (tmp_path / "supervisor.log").read_text()
    finally:
        supervisor.kill()
    summary = json.loads((tmp_path / "run" / "train.json").read_text())
    assert summary["env_steps"] >= updates * STEPS_PER_UPDATE
    assert [line["updates"] for line in summary["metrics"]] == list(range(1, summary["updates"] + 1))
    time.sleep(2.0)
    assert not [pid for pid in below if is_alive(pid)]


def test_sac_updates_in_one_process():
    policy = make_gaussian_actor()
    algorithm = make_algorithm(SACAlgorithmConfig.from_policy_config(policy.config), policy)
    two = Processes()
    two.count = 2
    with pytest.raises(ConfigError, match=r"learner_processes.*sac updates in one process"):
        train_together(SimpleNamespace(policy=policy, algorithm=algorithm), two)
