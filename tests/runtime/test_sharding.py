"""A sharded learner writes what one process writes, and either goes on from the other's checkpoint."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lerobot.rl.algorithms.sac import SACAlgorithmConfig
from safetensors.torch import load_file

from pirl.algorithms.factory import make_algorithm
from pirl.algorithms.processes import Processes
from pirl.runtime.agent import build_agent
from pirl.runtime.configuration import ConfigError, latest_checkpoint, parse_config
from pirl.runtime.follower import train_together
from tests.algorithms.rollouts import record_episodes
from tests.algorithms.test_factory import make_gaussian_actor
from tests.runtime.run_file import write_run
from tests.runtime.shared_checkpoint import advance

LORA = {
    "method_type": "LORA",
    "r": 4,
    "target_modules": r"model\.transformer\.blocks\..*\.(qkv|proj|fc1|fc2)",
}


def make_run(folder: Path, policy: Path, adapter: dict | None) -> Path:
    algorithm = {
        "variant": "flow_noise",
        "trainable": "denoiser" if adapter else "all",
        "minibatch_size": 5,
        "micro_batch_size": 2,
        "epochs": 2,
        "actor_lr": 1e-4,
    }
    return write_run(folder / "run.json", folder / "alone", policy, algorithm, seed=0, peft=adapter)


def assert_alike(ours: Path, theirs: Path) -> None:
    """The same files with the same tensors, but for the order of additions."""
    names = sorted(str(path.relative_to(ours)) for path in ours.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*") if path.is_file())
    for name in names:
        if name.endswith("optimizer_param_groups.json"):
            assert json.loads((ours / name).read_text()) == json.loads((theirs / name).read_text())
        if not name.endswith(".safetensors") or name.endswith("rng_state.safetensors"):
            continue
        left, right = load_file(ours / name), load_file(theirs / name)
        assert left.keys() == right.keys(), name
        for key, tensor in left.items():
            if not key.endswith("attn.qkv.bias"):  # see tests/algorithms/test_processes.py
                assert tensor.dtype == right[key].dtype
                torch.testing.assert_close(tensor, right[key], atol=1e-5, rtol=1e-4, msg=f"{name}: {key}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("adapter", [None, LORA], ids=["whole", "lora"])
def test_checkpoints_are_those_of_one_process_and_resume_either_way(
    tmp_path, start_policy, monkeypatch, adapter
):
    monkeypatch.setattr(sys, "argv", ["pirl-learner"])
    run = make_run(tmp_path, start_policy, adapter)
    alone, resumed, sharded = (tmp_path / name for name in ("alone", "resumed", "sharded"))
    agent = build_agent(parse_config([f"--config_path={run}"]))
    first = record_episodes(agent.algorithm, seed=1)
    agent = advance(run, alone, first, Processes())
    second = record_episodes(agent.algorithm, seed=2)
    begun = latest_checkpoint(alone)
    shutil.copytree(alone, resumed, symlinks=True)
    advance(run, alone, second, Processes())
    for name, transitions in (("first", first), ("second", second)):
        torch.save(transitions, tmp_path / name)

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [*launch, "-m", "tests.runtime.shared_checkpoint"]
    steps = [run, sharded, tmp_path / "first", run, resumed, tmp_path / "second"]
    subprocess.run([*script, *map(str, steps)], check=True, timeout=600)

    assert_alike(begun, latest_checkpoint(sharded))
    assert_alike(latest_checkpoint(alone), latest_checkpoint(resumed))
    advance(run, sharded, second, Processes())
    assert_alike(latest_checkpoint(alone), latest_checkpoint(sharded))
    assert latest_checkpoint(alone) != begun


def test_one_process_shards_nothing(start_policy, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pirl-learner"])
    config = parse_config(
        [f"--config_path={make_run(tmp_path, start_policy, None)}", "--learner_sharding=true"]
    )
    with pytest.raises(ConfigError, match=r"learner_sharding: .*learner_processes=2"):
        train_together(build_agent(config), Processes(), sharding=config.learner_sharding)


def test_sac_shards_nothing():
    policy = make_gaussian_actor()
    algorithm = make_algorithm(SACAlgorithmConfig.from_policy_config(policy.config), policy)
    with pytest.raises(ConfigError, match=r"learner_sharding: algorithm.type=sac"):
        train_together(SimpleNamespace(policy=policy, algorithm=algorithm), Processes(), sharding=True)
