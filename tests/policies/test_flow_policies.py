"""Adapters: the same numbers as LeRobot's own samplers, one encoder pass, nothing changed in the policy."""

import copy
import itertools

import pytest
import torch

from pirl.flow.chain import ALL_STEPS, sample_chain
from pirl.flow.kernels import euler_mean, native_mean, time_grid
from pirl.policies.registry import ADAPTERS, make_flow_policy
from tests.policies.tiny import make_observation, make_policy, make_xvla

TYPES = sorted(ADAPTERS)


@pytest.fixture(scope="module", params=TYPES)
def flow(request):
    torch.manual_seed(0)
    return make_flow_policy(make_policy(request.param))


def run_sampler(flow, observation, noise, sampler):
    """The adapter's chain without noise."""
    context = flow.encode(observation)

    def kernel(x, first, output, t, t_next):
        if sampler == "native":
            return native_mean(first, output.prediction, t_next), torch.zeros(())
        return euler_mean(x, output.prediction, t, t_next, flow.prediction), torch.zeros(())

    every = torch.full((len(noise),), ALL_STEPS)
    chain = sample_chain(
        lambda x, t: flow.denoise(context, x, t),
        noise,
        time_grid(flow.denoising_steps),
        kernel,
        kernel,
        every,
        flow.counted(),
    )
    return chain.states[:, -1]


@pytest.mark.parametrize("mode", ["auto", "ee6d", "joint"])
@torch.no_grad()
def test_native_chain_without_noise_equals_generate_actions_bit_for_bit(mode):
    torch.manual_seed(0)
    policy = make_xvla(mode)
    flow, observation = make_flow_policy(policy), make_observation(policy, 3)
    torch.manual_seed(5)
    expected = policy.predict_action_chunk(dict(observation))[:, : flow.executed_steps]
    torch.manual_seed(5)
    noise = torch.randn(3, flow.horizon, flow.model_dims)
    final = run_sampler(flow, observation, noise, "native")
    kept = final.clone()
    assert torch.equal(flow.finish(final), expected)
    assert torch.equal(final, kept), "LeRobot's postprocess works in place: the chain must not feel it"


@torch.no_grad()
@pytest.mark.parametrize("flow", ["pi0", "pi05", "smolvla"], indirect=True)
def test_euler_chain_without_noise_equals_the_policys_own_sampler(flow):
    observation = make_observation(flow.policy, 3)
    torch.manual_seed(5)
    expected = flow.policy.predict_action_chunk(dict(observation))[:, : flow.executed_steps]
    torch.manual_seed(5)
    noise = flow.policy.model.sample_noise((3, flow.horizon, flow.model_dims), "cpu")
    actual = flow.finish(run_sampler(flow, observation, noise, "euler"))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_euler_chain_of_xvla_is_the_ode_of_its_velocity():
    torch.manual_seed(0)
    policy = make_xvla()
    flow, observation = make_flow_policy(policy), make_observation(policy, 2)
    noise = torch.randn(2, flow.horizon, flow.model_dims)
    context, x = flow.encode(observation), noise.double()
    grid = time_grid(flow.denoising_steps)
    for t, t_next in itertools.pairwise(grid):
        action = flow.denoise(context, x.float(), t.expand(2)).prediction.double()
        x = x + (t_next - t) * (x - action) / t
    torch.testing.assert_close(
        run_sampler(flow, observation, noise, "euler").double(), x, rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_encoder_runs_once_per_decision(flow):
    calls = []
    handle = flow.encoder()[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        submodules = [next(iter(flow.encoder()[0].children()))]
        vision = submodules[0].register_forward_hook(lambda *_: calls.append(1))
        observation = make_observation(flow.policy, 2)
        flow.encode(observation)
        once = len(calls)
        calls.clear()
        run_sampler(flow, observation, torch.randn(2, flow.horizon, flow.model_dims), "euler")
        assert len(calls) == once
        vision.remove()
    finally:
        handle.remove()


@torch.no_grad()
def test_rows_of_a_context_can_be_selected(flow):
    observation = make_observation(flow.policy, 4)
    context = flow.encode(observation)
    assert all(len(value) == 4 for value in context.values())
    rows = torch.tensor([2, 0])
    x, t = torch.randn(4, flow.horizon, flow.model_dims), torch.full((4,), 0.5)
    whole = flow.denoise(context, x, t)
    part = flow.denoise({key: value[rows] for key, value in context.items()}, x[rows], t[rows])
    torch.testing.assert_close(part.prediction, whole.prediction[rows], rtol=1e-4, atol=1e-5)
    before = {key: value.clone() for key, value in context.items()}
    flow.denoise(context, x, t)
    assert all(torch.equal(before[key], context[key]) for key in context), (
        "denoising must not change the context"
    )


@torch.no_grad()
def test_ids_survive_the_replay_buffers_float32(flow):
    observation = make_observation(flow.policy, 2)
    as_floats = {key: value.float() for key, value in observation.items()}
    context, replayed = flow.encode(observation), flow.encode(as_floats)
    assert all(torch.equal(context[key], replayed[key]) for key in context)


def test_widths_are_as_announced(flow):
    context = flow.encode(make_observation(flow.policy, 2))
    tokens, state = flow.critic_inputs(context)
    output = flow.denoise(context, torch.randn(2, flow.horizon, flow.model_dims), torch.ones(2))
    assert flow.observation_dim == (tokens.shape[-1], state.shape[-1])
    assert output.tokens.shape == (2, flow.horizon, flow.token_dim)
    assert output.prediction.shape == (2, flow.horizon, flow.model_dims)
    assert output.prediction.dtype == torch.float32


def test_imitation_loss_is_finite_and_counts_executed_steps(flow):
    context = flow.encode(make_observation(flow.policy, 8))
    dims = flow.policy.config.action_feature.shape[0]
    loss = flow.imitation_loss(context, torch.rand(8, flow.executed_steps, dims))
    assert loss.ndim == 0 and torch.isfinite(loss)
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for m in flow.denoiser() for p in m.parameters())
    flow.policy.zero_grad(set_to_none=True)


def test_xvla_imitation_loss_is_lerobots_training_loss():
    torch.manual_seed(0)
    policy = make_xvla(n_action_steps=6)
    flow, observation = make_flow_policy(policy), make_observation(policy, 4)
    actions = torch.randn(4, 6, 10)

    noise, start = torch.randn(4, 6, 20), torch.rand(1)
    draws = {"randn": lambda like, **_: noise, "rand": lambda *_, **__: start}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", draws["randn"])
        patch.setattr(torch, "rand", draws["rand"])
        expected, _ = policy.forward(observation | {"action": actions})
        actual = flow.imitation_loss(flow.encode(observation), actions)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(
    ("mode", "executed_dims", "flow_dims", "binary"),
    [
        ("auto", None, list(range(10)), ()),
        ("ee6d", 10, list(range(9)), (9,)),
        ("auto", 7, list(range(7)), ()),
    ],
)
def test_only_executed_steps_and_real_flow_dims_are_counted(mode, executed_dims, flow_dims, binary):
    flow = make_flow_policy(make_xvla(mode), executed_dims)
    mask = flow.counted()
    assert mask[: flow.executed_steps].any(0).nonzero().flatten().tolist() == flow_dims
    assert not mask[flow.executed_steps :].any()
    assert flow.binary_dims == binary


def test_sampled_gripper_replaces_the_sigmoid():
    flow = make_flow_policy(make_xvla("ee6d"), 10)
    outcomes = torch.bernoulli(torch.full((2, 4, 1), 0.5))
    action = flow.finish(torch.randn(2, 6, 20), outcomes)
    assert torch.equal(action[..., 9:10], outcomes)


def test_adapters_leave_weights_and_config_alone(flow):
    policy = flow.policy
    names, config = list(policy.state_dict()), copy.deepcopy(policy.config)
    make_flow_policy(policy).encode(make_observation(policy, 1))
    assert list(policy.state_dict()) == names and policy.config == config
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in policy.modules())
    assert hooks == 0


def test_policies_without_a_flow_are_refused():
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    from tests.policies.tiny import features

    act = ACTPolicy(ACTConfig(pretrained_backbone_weights=None, **features(state=8, action=7)))
    with pytest.raises(ValueError, match=r"'act' is not a flow policy.*pi0, pi05, smolvla, xvla"):
        make_flow_policy(act)


def test_bfloat16_weights_are_refused():
    with pytest.raises(ValueError, match=r"policy\.dtype.*float32"):
        make_flow_policy(make_xvla(dtype="bfloat16"))


def test_executed_dims_must_exist():
    with pytest.raises(ValueError, match="executed_dims: 11"):
        make_flow_policy(make_xvla(), 11)
