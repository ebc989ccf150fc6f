"""A policy that is trained through LoRA: saved as LeRobot saves adapters, exported as a plain policy."""

import copy
import sys

import pytest
import torch
from lerobot.configs import PeftConfig
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv
from lerobot.policies import make_policy
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from peft import PeftModel

from pirl.policies.adapters import bare, load_policy, merged
from pirl.policies.export import export_policy
from pirl.runtime.agent import build_agent
from pirl.runtime.checkpoint import restore_run, save_run
from pirl.runtime.configuration import ConfigError, parse_config
from pirl.runtime.ingest import IntakeCounters
from tests.policies.tiny import make_observation, make_smolvla, save_xvla
from tests.runtime.run_file import write_run
from tests.runtime.test_checkpoint import assert_bit_equal, open_agent, update

TARGETS = r"model\.transformer\.blocks\..*\.(qkv|proj|fc1|fc2)"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_xvla(tmp_path_factory.mktemp("base"))


@pytest.fixture
def parse(base, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pirl-learner"])

    def parse(*overrides: str, peft: dict | None = None):
        adapter = {"r": 2, "lora_alpha": 4, "target_modules": TARGETS} if peft is None else peft
        algorithm = {"minibatch_size": 4, "actor_lr": 1e-2}
        path = write_run(tmp_path / "run.json", tmp_path / "run", base, algorithm, peft=adapter)
        return parse_config([f"--config_path={path}", *overrides])

    return parse


def chunk(policy) -> torch.Tensor:
    observation = make_observation(bare(policy), 2)
    policy.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        return policy.predict_action_chunk(observation)


def test_only_the_adapter_trains_travels_and_is_saved(parse, tmp_path):
    config = parse()
    learner = open_agent(config)
    before = {name: tensor.clone() for name, tensor in bare(learner.policy).state_dict().items()}
    actor = build_agent(parse())
    update(learner, 1)
    moved = {
        n for n, tensor in bare(learner.policy).state_dict().items() if not torch.equal(tensor, before[n])
    }
    assert moved and all("lora_" in name for name in moved)
    weights = learner.algorithm.get_weights()
    assert all("lora_" in name for name in weights["policy"])
    actor.algorithm.load_weights(weights)
    assert torch.equal(chunk(actor.policy), chunk(learner.policy))
    folder = save_run(config, learner, IntakeCounters(env_steps=48), updates=1) / "pretrained_model"
    assert (folder / "adapter_model.safetensors").is_file() and not (folder / "model.safetensors").exists()


def test_a_resumed_adapter_is_bit_equal_and_stays_so(parse):
    agent = open_agent(parse())
    update(agent, 1)
    save_run(parse(), agent, IntakeCounters(env_steps=48), updates=1)
    config = parse("--resume=true")
    resumed = open_agent(config)
    restore_run(config, resumed)
    for each in (agent, resumed):
        update(each, 3)
    assert_bit_equal(agent, resumed)
    other = parse("--resume=true", "--peft.r=4")
    with pytest.raises(ConfigError, match="peft"):
        restore_run(other, open_agent(other))


def test_lerobot_loads_the_checkpoint_and_the_export(parse, tmp_path, base):
    config = parse()
    agent = open_agent(config)
    untrained = chunk(agent.policy)
    update(agent, 1)
    trained = chunk(agent.policy)
    assert (trained - untrained).abs().max() > 1e-3
    checkpoint = save_run(config, agent, IntakeCounters(env_steps=48), updates=1) / "pretrained_model"

    stock = PreTrainedConfig.from_pretrained(checkpoint)
    stock.pretrained_path = checkpoint
    adapted = make_policy(stock, env_cfg=LiberoEnv(), rename_map={"any": "any"})
    assert isinstance(adapted, PeftModel)
    actions = chunk(adapted)
    assert torch.equal(actions, trained[..., : actions.shape[-1]])  # LIBERO's seven

    exported = export_policy(checkpoint, tmp_path / "policy")
    assert not list(exported.glob("adapter_*"))
    assert PreTrainedConfig.from_pretrained(exported).use_peft is False
    alone = XVLAPolicy.from_pretrained(exported)
    torch.testing.assert_close(chunk(alone), trained, atol=1e-4, rtol=1e-4)
    assert alone.state_dict().keys() == XVLAPolicy.from_pretrained(base).state_dict().keys()


def test_an_adapter_without_targets_names_the_setting(parse):
    with pytest.raises(ConfigError, match=r"peft\.target_modules"):
        build_agent(parse(peft={"r": 2}))


def test_smolvla_brings_its_own_targets(tmp_path):
    policy = make_smolvla()
    policy.save_pretrained(tmp_path / "policy")
    config = PreTrainedConfig.from_pretrained(tmp_path / "policy")
    config.pretrained_path = tmp_path / "policy"
    adapted = load_policy(config, tmp_path / "policy", PeftConfig(r=2))
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert names and all("lora_" in name for name in names)
    assert any(".lm_expert." in name for name in names)
    before = chunk(adapted)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    after = chunk(adapted)
    assert not torch.allclose(before, after, atol=1e-3)
    plain = merged(copy.deepcopy(adapted))
    torch.testing.assert_close(chunk(plain), after, atol=1e-4, rtol=1e-3)
