"""What PI-RL publishes to actors, saves and resumes from."""

import pytest
import torch

from pirl.algorithms.pi_rl.algorithm import PiRLAlgorithm
from tests.algorithms.pi_rl.small import make, update
from tests.algorithms.rollouts import record_episodes, store
from tests.policies.tiny import make_observation


def test_only_what_the_actor_needs_is_published(tmp_path):
    fresh = make("flow_noise")
    assert fresh.get_weights()["policy"].keys() == fresh.policy.state_dict().keys()
    fresh.policy.config.pretrained_path = tmp_path
    published = fresh.get_weights()
    assert published.keys() == {"policy", "noise", "policy_version"}
    assert published["policy"].keys() == {name for name, _ in fresh.flow.trainable_parameters()}
    assert not any(".vlm." in name for name in published["policy"])
    with pytest.raises(ValueError, match="variant"):
        make("flow_sde").load_weights(published)
    published["policy"]["unknown"] = torch.zeros(1)
    with pytest.raises(ValueError, match="'unknown' is no parameter"):
        make("flow_noise").load_weights(published)


def test_checkpoint_round_trip_keeps_parameter_identity(tmp_path):
    algorithm = make("flow_noise")
    update(algorithm)
    algorithm.save_pretrained(tmp_path)
    restored = PiRLAlgorithm.from_pretrained(tmp_path, policy=algorithm.policy)
    assert restored.config.variant == "flow_noise" and restored.policy_version == 1
    for key, tensor in algorithm.state_dict().items():
        assert torch.equal(tensor, restored.state_dict()[key])
    optimizers = restored.make_optimizers_and_scheduler()
    restored.load_state_dict(algorithm.state_dict())
    held = {id(p) for o in optimizers.values() for group in o.param_groups for p in group["params"]}
    owned = [*restored.critic.parameters(), *restored.stochastic.noise.parameters()]
    assert all(id(parameter) in held for parameter in owned)
    with pytest.raises(ValueError, match="do not match"):
        make("flow_sde").load_state_dict(algorithm.state_dict())


@pytest.mark.parametrize("actor_optimizer", ["adamw", "muon"])
def test_optimizers_survive_lerobots_checkpoint(tmp_path, actor_optimizer):
    from lerobot.optim.optimizers import load_optimizer_state, save_optimizer_state

    weights = []
    for resumed in (False, True):
        algorithm = make("flow_noise", lr_warmup_steps=0, actor_lr=1e-3, actor_optimizer=actor_optimizer)
        update(algorithm)
        if resumed:
            save_optimizer_state(algorithm.get_optimizers(), tmp_path)
            kept = algorithm.optimization_step
            algorithm.make_optimizers_and_scheduler()
            load_optimizer_state(algorithm.get_optimizers(), tmp_path)
            algorithm.optimization_step = kept
        buffer = store(record_episodes(algorithm, seed=9))
        torch.manual_seed(4)
        update(algorithm, buffer)
        weights.append(torch.cat([p.detach().flatten() for p in algorithm.policy.parameters()]))
    assert torch.equal(*weights)


def test_trained_policy_is_saved_and_loaded_by_lerobot_alone(tmp_path):
    from lerobot.policies.xvla.modeling_xvla import XVLAPolicy

    algorithm = make(actor_lr=1e-2, lr_warmup_steps=0)
    update(algorithm)
    algorithm.policy.save_pretrained(tmp_path)
    loaded = XVLAPolicy.from_pretrained(tmp_path)
    observation = make_observation(algorithm.policy, 2)
    chunks = []
    for policy in (algorithm.policy, loaded):
        torch.manual_seed(1)
        chunks.append(policy.predict_action_chunk(dict(observation)))
    assert torch.equal(*chunks)
