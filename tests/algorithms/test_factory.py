"""Every other algorithm goes to LeRobot untouched."""

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.gaussian_actor.configuration_gaussian_actor import GaussianActorConfig
from lerobot.policies.gaussian_actor.modeling_gaussian_actor import GaussianActorPolicy
from lerobot.rl.algorithms.factory import make_algorithm as make_lerobot_algorithm
from lerobot.rl.algorithms.sac import SACAlgorithm, SACAlgorithmConfig

from pirl.algorithms import PiRLConfig
from pirl.algorithms.acting import make_action_sampler
from pirl.algorithms.factory import get_algorithm_class, make_algorithm
from tests.policies.tiny import make_observation, make_xvla


def make_gaussian_actor(action_dim=14, **settings):
    torch.manual_seed(0)
    config = GaussianActorConfig(
        device="cpu",
        push_to_hub=False,
        storage_device="cpu",
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (8,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (action_dim,))},
        **settings,
    )
    return GaussianActorPolicy(config)


def sac_batches(dims):
    generator = torch.Generator().manual_seed(1)
    while True:
        yield {
            "state": {"observation.state": torch.randn(16, 8, generator=generator)},
            "next_state": {"observation.state": torch.randn(16, 8, generator=generator)},
            "action": torch.rand(16, dims, generator=generator),
            "reward": torch.rand(16, generator=generator),
            "done": torch.zeros(16),
            "truncated": torch.zeros(16),
            "complementary_info": None,
        }


def test_sac_is_lerobots_own_config_checkpoint_and_losses(tmp_path):
    results = []
    for name, make in (("stock", make_lerobot_algorithm), ("pirl", make_algorithm)):
        policy = make_gaussian_actor()
        torch.manual_seed(2)
        algorithm = make(SACAlgorithmConfig.from_policy_config(policy.config), policy)
        algorithm.make_optimizers_and_scheduler()
        batches = sac_batches(14)
        losses = [algorithm.update(batches).to_log_dict() for _ in range(3)]
        algorithm.save_pretrained(tmp_path / name)
        results.append(losses)
        assert type(algorithm) is SACAlgorithm
    assert results[0] == results[1]
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "stock" / file).read_bytes() == (tmp_path / "pirl" / file).read_bytes()


def test_sac_acts_in_chunks():
    policy = make_gaussian_actor(action_dim=21)
    sampler = make_action_sampler(
        make_algorithm(SACAlgorithmConfig.from_policy_config(policy.config), policy)
    )
    observation = {"observation.state": torch.randn(5, 8)}
    torch.manual_seed(3)
    decision = sampler.act(observation)
    torch.manual_seed(3)
    assert torch.equal(decision.action.flatten(1), policy.select_action(observation))
    assert decision.action.shape == (5, 3, 7) and sampler.chunk_size == 3
    assert decision.complementary_info == {}
    assert not torch.equal(decision.action, sampler.act(observation).action), "acting must explore"


def test_sac_needs_whole_actions():
    policy = make_gaussian_actor(action_dim=10)
    algorithm = make_algorithm(SACAlgorithmConfig.from_policy_config(policy.config), policy)
    with pytest.raises(ValueError, match=r"10 dims are no whole number of 7-dim actions"):
        make_action_sampler(algorithm)


def test_pi_rl_is_its_own_sampler():
    algorithm = make_algorithm(PiRLConfig(), make_xvla())
    assert make_action_sampler(algorithm) is algorithm
    decision = algorithm.act(make_observation(algorithm.policy, 3))
    assert decision.action.shape == (3, algorithm.chunk_size, 10)
    assert all(value.dtype == torch.float32 for value in decision.complementary_info.values())
    assert all(len(value) == 3 for value in decision.complementary_info.values())


def test_unknown_algorithms_and_policies_without_a_flow_are_refused():
    with pytest.raises(ValueError, match="nonesuch"):
        get_algorithm_class("nonesuch")
    with pytest.raises(ValueError, match="not a flow policy"):
        make_algorithm(PiRLConfig(), make_gaussian_actor())
