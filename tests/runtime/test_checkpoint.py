"""A resumed learner is the learner that was interrupted: weights, optimizers, counters, random numbers."""

import shutil
import sys
from dataclasses import asdict

import pytest
import torch
from lerobot.rl.data_sources import OnlineOfflineMixer

from pirl.runtime import checkpoint as checkpoints
from pirl.runtime.agent import Agent, build_agent
from pirl.runtime.checkpoint import restore_run, save_run
from pirl.runtime.configuration import ConfigError, OnlineTrainConfig, latest_checkpoint, parse_config
from pirl.runtime.ingest import IntakeCounters
from tests.algorithms.rollouts import record_episodes, store
from tests.runtime.run_file import write_run

VARIANTS = ("flow_sde", "flow_noise")


@pytest.fixture
def parse(tmp_path, start_policy, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pirl-learner"])
    path = tmp_path / "run.json"

    def parse(*overrides: str, **algorithm) -> OnlineTrainConfig:
        settings = {"minibatch_size": 4} | algorithm
        write_run(path, tmp_path / "run", start_policy, settings, seed=0)
        return parse_config([f"--config_path={path}", *overrides])

    return parse


def open_agent(config: OnlineTrainConfig) -> Agent:
    """As the learner does: LeRobot's trainer makes the optimizers."""
    agent = build_agent(config)
    agent.algorithm.make_optimizers_and_scheduler()
    return agent


def update(agent: Agent, seed: int) -> None:
    algorithm = agent.algorithm
    torch.manual_seed(seed)
    buffer = store(record_episodes(algorithm, seed=seed))
    iterator = algorithm.configure_data_iterator(OnlineOfflineMixer(buffer, None, 1.0), 64)
    algorithm.update(iterator)


def tensors(agent: Agent) -> dict[str, torch.Tensor]:
    """Everything that a further update depends on."""
    found = {f"policy.{name}": value for name, value in agent.policy.state_dict().items()}
    found |= agent.algorithm.state_dict()
    for name, optimizer in agent.algorithm.get_optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            found |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return found


def assert_bit_equal(ours: Agent, theirs: Agent) -> None:
    left, right = tensors(ours), tensors(theirs)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


REMEMBERING = {"critic_input": "scene", "bootstrap_timeouts": False, "critic_memory": 2}


@pytest.mark.parametrize("settings", [*({"variant": v} for v in VARIANTS), REMEMBERING], ids=str)
def test_a_resumed_run_is_bit_equal_and_stays_so(parse, settings):
    agent = open_agent(parse(**settings))
    for seed in (1, 2):
        update(agent, seed)
    counters = IntakeCounters(env_steps=96, episodes=8, successes=4, transitions=24)
    torch.manual_seed(7)
    save_run(parse(**settings), agent, counters, updates=2)
    drawn = torch.rand(3)

    resumed_config = parse("--resume=true", **settings)
    resumed = open_agent(resumed_config)
    restored_counters, updates = restore_run(resumed_config, resumed)

    assert torch.equal(torch.rand(3), drawn)
    assert (asdict(restored_counters), updates) == (asdict(counters), 2)
    assert resumed.algorithm.policy_version == agent.algorithm.policy_version == 2
    assert resumed.algorithm.optimization_step == agent.algorithm.optimization_step
    assert_bit_equal(agent, resumed)
    for each in (agent, resumed):
        update(each, 3)
    assert_bit_equal(agent, resumed)


def test_trained_weights_are_resumed_and_not_the_start_policy(parse):
    agent = open_agent(parse())
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    update(agent, 1)
    save_run(parse(), agent, IntakeCounters(env_steps=48), updates=1)
    resumed = open_agent(parse("--resume=true"))
    moved = [
        name for name, value in resumed.policy.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert moved


def test_a_moved_run_resumes_where_it_lies_now(parse, tmp_path):
    agent = open_agent(parse())
    update(agent, 1)
    save_run(parse(), agent, IntakeCounters(env_steps=48), updates=1)
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    config = parse("--resume=true", f"--output_dir={tmp_path / 'elsewhere'}")
    resumed = open_agent(config)
    assert restore_run(config, resumed)[0].env_steps == 48
    assert_bit_equal(agent, resumed)


def test_a_crash_while_writing_leaves_the_previous_checkpoint(parse, monkeypatch):
    config = parse()
    agent = open_agent(config)
    update(agent, 1)
    first = save_run(config, agent, IntakeCounters(env_steps=48), updates=1)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_json", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_run(config, agent, IntakeCounters(env_steps=96), updates=2)
    assert latest_checkpoint(config.output_dir) == first.resolve()
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"variant": "flow_noise"}, "algorithm.variant"),
        ({"critic_hidden": 16}, "algorithm.critic_hidden"),
        ({"denoising_steps": 2}, "algorithm.denoising_steps"),
    ],
)
def test_an_incompatible_configuration_is_refused_by_name(parse, changes, named):
    config = parse()
    agent = open_agent(config)
    update(agent, 1)
    save_run(config, agent, IntakeCounters(env_steps=48), updates=1)
    changed = parse("--resume=true", **changes)
    with pytest.raises(ConfigError, match=named):
        restore_run(changed, open_agent(changed))


def test_settings_that_may_change_do_not_hinder_a_resume(parse):
    config = parse()
    agent = open_agent(config)
    update(agent, 1)
    save_run(config, agent, IntakeCounters(env_steps=48), updates=1)
    changed = parse("--resume=true", actor_lr=3e-5, episodes_per_update=8)
    restore_run(changed, open_agent(changed))


def test_the_newest_and_the_best_are_kept(parse):
    config = parse("--budget.keep_last=2", "--budget.keep_best=1")
    agent = open_agent(config)
    for steps, rate in ((100, 0.2), (200, 0.8), (300, 0.8), (400, 0.1), (500, None)):
        save_run(config, agent, IntakeCounters(env_steps=steps), updates=1, success_rate=rate)
    folders = sorted(int(path.name) for path in (config.output_dir / "checkpoints").glob("[0-9]*"))
    assert folders == [300, 400, 500]
