"""PI-RL on LeRobot's contract, with tiny random policies of every supported type."""

import copy
import math

import pytest
import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer
from lerobot.transport.utils import bytes_to_state_dict, state_to_bytes

from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.flow.kernels import euler_mean
from tests.algorithms.pi_rl.small import make, update
from tests.algorithms.rollouts import batch_of, record_episodes, store
from tests.policies.tiny import make_observation, make_policy, make_xvla

TYPES = ["pi0", "pi05", "smolvla", "xvla"]
VARIANTS = ["flow_sde", "flow_noise"]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("policy_type", TYPES)
def test_ratio_is_one_before_the_first_step(policy_type, variant):
    """The learner recomputes the actor's log-probs after serialisation and replay, with weights it sent."""
    torch.manual_seed(0)
    policy = make_policy(policy_type)
    learner = make(variant, policy)
    actor = make(variant, copy.deepcopy(policy))
    actor.load_weights(bytes_to_state_dict(state_to_bytes(learner.get_weights())))
    buffer = store(record_episodes(actor))
    learner.rollout_ready(buffer)
    raw = next(learner.configure_data_iterator(OnlineOfflineMixer(buffer), 8))
    batch = UpdateBatch(raw, learner.stochastic, learner.config)
    rows = torch.randperm(batch.size)[:5]
    for log_prob in (batch.old_log_prob[rows], batch.evaluate(rows).log_prob):
        ratio = (log_prob - batch.info["log_prob"][rows]).sum(-1).exp()
        assert ((ratio - 1).abs() < 1e-4).all(), f"chunk ratio off by {(ratio - 1).abs().max():.1e}"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("policy_type", TYPES)
@pytest.mark.parametrize("trainable", ["denoiser", "all"])
def test_gradients_reach_what_trains_and_nothing_else(policy_type, variant, trainable):
    torch.manual_seed(0)
    algorithm = make(variant, make_policy(policy_type), trainable=trainable)
    batch = batch_of(algorithm)
    # The second move of the noise network: its first has a zero last layer, which stops the gradient.
    if algorithm.stochastic.noise is not None:
        torch.nn.init.normal_(algorithm.stochastic.noise.head.weight, std=0.1)
    batch.evaluate(torch.arange(batch.size)).log_prob.sum().backward()
    groups = algorithm.make_optimizers_and_scheduler()["actor"].param_groups
    optimised = {id(parameter) for group in groups for parameter in group["params"]}
    denoiser = {id(p) for module in algorithm.flow.denoiser() for p in module.parameters()}
    for name, parameter in algorithm.policy.named_parameters():
        if id(parameter) in denoiser:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, f"{name} gets no gradient"
            assert id(parameter) in optimised
        elif id(parameter) not in optimised:
            assert parameter.grad is None, f"{name} is frozen but gets a gradient"
    encoder_trains = any(id(p) in optimised for m in algorithm.flow.encoder() for p in m.parameters())
    assert encoder_trains == (trainable == "all")
    for module in (algorithm.stochastic.noise,) if algorithm.stochastic.noise else ():
        assert all(p.grad.abs().sum() > 0 and id(p) in optimised for p in module.parameters())
    assert all(p.grad is None for p in algorithm.critic.parameters())


@pytest.mark.parametrize("policy_type", TYPES)
def test_activation_checkpointing_keeps_gradients_and_saves_memory(policy_type):
    torch.manual_seed(0)
    policy = make_policy(policy_type)
    gradients, kept = [], []
    for recompute in (False, True):
        algorithm = make(
            "flow_noise", copy.deepcopy(policy), trainable="all", activation_checkpointing=recompute
        )
        torch.manual_seed(1)
        batch = batch_of(algorithm)
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, saved=saved: saved.append(tensor.nbytes) or tensor, lambda tensor: tensor
        ):
            loss = batch.evaluate(torch.arange(batch.size)).log_prob.sum()
        loss.backward()
        gradients.append([p.grad for p in algorithm.policy.parameters()])
        kept.append(sum(saved))
    for plain, recomputed in zip(*gradients, strict=True):
        assert (plain is None) == (recomputed is None)
        if plain is not None:
            torch.testing.assert_close(plain, recomputed, atol=1e-6, rtol=1e-5)
    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("policy_type", ["smolvla", "xvla"])
def test_a_frozen_encoder_stays_as_it_is_and_runs_once_per_decision(policy_type):
    algorithm = make("flow_sde", make_policy(policy_type), actor_lr=1e-2, critic_warmup_epochs=0)
    before = {name: tensor.clone() for name, tensor in algorithm.policy.state_dict().items()}
    encoder = {
        id(p) for module in algorithm.flow.encoder() for p in (*module.parameters(), *module.buffers())
    }
    rollouts = store(record_episodes(algorithm))
    encoded, encode = [], algorithm.flow.encode
    algorithm.flow.encode = lambda batch: encoded.append(len(next(iter(batch.values())))) or encode(batch)
    update(algorithm, rollouts)
    decisions, timeouts = 12, 2
    assert sum(encoded) == decisions + timeouts
    moved = {n for n, tensor in algorithm.policy.state_dict().items() if not torch.equal(tensor, before[n])}
    frozen = {name for name, p in algorithm.policy.named_parameters() if id(p) in encoder}
    assert moved and frozen and not moved & frozen


@pytest.mark.parametrize("how", ["train", "augmentation"])
def test_dropout_or_augmentation_breaks_the_ratio(how):
    """What the ratio test guards against: it must be able to fail."""
    algorithm = make("flow_noise")
    batch = batch_of(algorithm)
    rows = torch.arange(batch.size)
    if how == "train":
        algorithm.policy.train()
        log_prob = batch.evaluate(rows).log_prob
    else:
        images = {k: v for k, v in batch.raw["state"].items() if "image" in k}
        batch.raw["state"] |= {k: v.roll(2, dims=-1) for k, v in images.items()}
        batch._contexts = {}
        log_prob = batch.evaluate(rows).log_prob
    ratio = (log_prob - batch.info["log_prob"]).sum(-1).exp()
    assert ((ratio - 1).abs() > 1e-3).any()


@pytest.mark.parametrize("critic_input", ["observation", "action_tokens"])
def test_encoding_anew_changes_no_update(critic_input):
    """`cache_encoder` trades memory for time and nothing else."""
    weights = []
    for cache in (True, False):
        algorithm = make(cache_encoder=cache, critic_input=critic_input)
        update(algorithm)
        weights.append(algorithm.get_weights()["policy"] | algorithm.state_dict())
    assert not batch_of(make(cache_encoder=False))._contexts
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-6), name


def test_update_switches_dropout_off_by_itself():
    algorithm = make()
    buffer = store(record_episodes(algorithm))
    algorithm.policy.train()
    algorithm.rollout_ready(buffer)
    assert update(algorithm, buffer)["rollout/log_prob_gap"] < 1e-3
    assert not any(module.training for module in algorithm.policy.modules())


@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "flow_sde"},
        {"variant": "flow_noise", "entropy_coefficient": 0.01},
        {"variant": "flow_sde", "stochastic_steps": "last", "sampler": "native"},
        {
            "variant": "flow_sde",
            "stochastic_steps": "all",
            "logprob_reduction": "mean",
            "ratio_level": "chunk",
        },
        {
            "variant": "flow_sde",
            "critic_input": "action_tokens",
            "trainable": "all",
            "discount_per_step": True,
        },
        {"variant": "flow_sde", "critic_input": "scene", "bootstrap_timeouts": False},
        {"variant": "flow_noise", "critic_input": "scene", "bootstrap_timeouts": False, "critic_memory": 2},
        {"variant": "flow_sde", "noise_scale": [0.5] * 10, "autocast": True, "weight_decay": 0.01},
        {"variant": "flow_noise", "noise_scale": [0.5] * 3 + [0.0] * 7, "noise_correlation": 0.9},
        {"variant": "flow_sde", "noise_correlation": 1.0, "ratio_level": "chunk"},
    ],
    ids=lambda s: "-".join(str(v) for v in s.values())[:40],
)
def test_update_moves_the_policy_and_reports_every_metric(settings):
    algorithm = make(**settings)
    before = {name: p.detach().clone() for name, p in algorithm.policy.named_parameters()}
    stats = update(algorithm)
    wanted = {
        "loss/policy",
        "loss/value",
        "policy/approx_kl",
        "policy/clip_fraction",
        "policy/ratio_max",
        "policy/entropy",
        "value/explained_variance",
        "advantage/std",
        "rollout/policy_lag",
        "grad_norm/actor",
        "grad_norm/critic",
        "lr/actor",
        "lr/critic",
    }
    assert wanted <= stats.keys()
    assert all(math.isfinite(value) for value in stats.values())
    trained = {name for name, _ in algorithm.flow.trainable_parameters()}
    moved = {name for name, p in algorithm.policy.named_parameters() if not torch.equal(p, before[name])}
    assert moved and moved <= trained
    assert algorithm.policy_version == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_dim_without_noise_follows_the_ode_and_counts_nothing(variant):
    scale = [0.5] * 3 + [0.0] * 7
    algorithm = make(variant, noise_scale=scale, stochastic_steps="last", sampler="euler")
    flow, times = algorithm.flow, algorithm.stochastic.times
    with torch.no_grad():
        context = algorithm.stochastic.encode(make_observation(algorithm.policy, 4))
        _, stored = algorithm.stochastic.decide(context, 4)
        x, x_next = stored["chain"][:, -2], stored["chain"][:, -1]
        prediction = flow.denoise(context, x, times[-2].expand(4)).prediction
        moved = x_next - euler_mean(x, prediction, times[-2], times[-1], flow.prediction)
        assert (moved[:, : flow.executed_steps, :3].abs() > 1e-6).all()
        torch.testing.assert_close(moved[..., 3:], torch.zeros_like(moved[..., 3:]))
        stored["chain"][:, -1, :, 3:] += 1.0
        torch.testing.assert_close(
            algorithm.stochastic.evaluate(context, stored).log_prob, stored["log_prob"]
        )


@pytest.mark.parametrize("mode", ["ee6d", "joint"])
def test_discrete_gripper_is_sampled_counted_and_trained(mode):
    algorithm = make("flow_noise", make_xvla(mode), executed_dims=10)
    gripper = list(algorithm.flow.binary_dims)
    decision = algorithm.act(make_observation(algorithm.policy, 4))
    assert set(decision.action[..., gripper].unique().tolist()) <= {0.0, 1.0}
    batch = batch_of(algorithm)
    rows = torch.arange(batch.size)
    evaluation = batch.evaluate(rows)
    assert ((evaluation.log_prob - batch.info["log_prob"]).sum(-1).exp() - 1).abs().max() < 1e-4
    batch.info["gripper"] = 1 - batch.info["gripper"]
    assert not torch.allclose(batch.evaluate(rows).log_prob, evaluation.log_prob)
    assert (evaluation.gripper_entropy > 0).all()


def test_same_seed_gives_the_same_update():
    results = []
    for _ in range(2):
        algorithm = make("flow_noise")
        torch.manual_seed(3)
        update(algorithm)
        results.append(torch.cat([p.flatten() for p in algorithm.policy.parameters()]))
    assert torch.equal(*results)


def test_gradient_accumulation_does_not_change_the_update():
    weights = []
    for micro in (1, 12):
        algorithm = make(
            micro_batch_size=micro, minibatch_size=12, epochs=1, lr_warmup_steps=0, actor_lr=1e-3
        )
        buffer = store(record_episodes(algorithm))
        update(algorithm, buffer)
        weights.append(algorithm.policy.model.transformer.action_decoder.bias.weight.detach().clone())
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-4)


def test_kl_bound_stops_the_epochs():
    stats = update(make(actor_lr=1e-2, lr_warmup_steps=0, target_kl=1e-3, epochs=20))
    assert stats["policy/kl_stop"] == 1.0
    assert stats["policy/epochs"] < 20


def test_hybrid_mode_adds_the_flow_matching_loss_of_demonstrations():
    algorithm = make(bc_coefficient=0.5)
    online = store(record_episodes(algorithm))
    offline = ReplayBuffer(16, device="cpu", use_drq=False)
    for seed in range(8):
        state = make_observation(algorithm.policy, 1, seed)
        offline.add(state, torch.rand(1, 4 * 10), 0.0, state, False, False)
    stats = update(algorithm, mixer=OnlineOfflineMixer(online, offline, 0.5))
    assert stats["loss/bc"] > 0
    with pytest.raises(ValueError, match=r"bc_coefficient.*demonstrations"):
        make(bc_coefficient=0.5).configure_data_iterator(OnlineOfflineMixer(online), 8)


def test_grpo_compares_episodes_from_one_start_and_needs_no_critic():
    algorithm = make(advantage="grpo")
    transitions = record_episodes(algorithm)
    for transition in transitions:  # all four episodes begin alike
        if transition["complementary_info"]["decision_index"] == 0:
            transition["state"]["observation.state"] = transitions[0]["state"]["observation.state"]
    stats = update(algorithm, store(transitions))
    assert algorithm.critic is None and "loss/value" not in stats
    assert stats["advantage/std"] == pytest.approx(math.sqrt(3) / 2, abs=1e-3)


def test_learning_rate_warms_up_and_decays():
    algorithm = make(
        lr_schedule="linear", lr_decay_updates=2, lr_final_fraction=0.1, lr_warmup_steps=0, epochs=1
    )
    assert update(algorithm)["lr/actor"] == pytest.approx(1e-5)
    assert update(algorithm)["lr/actor"] == pytest.approx(0.55e-5)
    assert update(algorithm)["lr/actor"] == pytest.approx(0.1e-5)
    warming = make(lr_warmup_steps=1000, epochs=1)
    assert update(warming)["lr/actor"] < 1e-7


def test_critic_learns_during_its_warm_up_while_the_policy_rests():
    algorithm = make(
        critic_warmup_epochs=100,
        epochs=1,
        actor_lr=1e-12,
        critic_lr=3e-3,
        bootstrap_timeouts=False,
        gae_lambda=1.0,
    )
    assert update(algorithm)["value/explained_variance"] > 0.5


def test_settings_that_do_not_fit_the_policy_are_refused():
    with pytest.raises(ValueError, match=r"noise_scale.*10 factors"):
        make(noise_scale=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"sampler.*euler"):
        make("flow_noise", make_policy("pi0"), sampler="native")


def test_muon_is_not_given_parts_of_matrices():
    with pytest.raises(ValueError, match=r"actor_optimizer: muon .*learner_sharding=false"):
        make("flow_sde", actor_optimizer="muon").shard()
