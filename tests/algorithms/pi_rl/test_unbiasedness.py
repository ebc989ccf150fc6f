"""The score-function gradient of a chain with a Bernoulli gripper is the gradient of the expected return."""

import pytest
import torch

from pirl.flow.chain import Output, chain_log_prob, draw_stochastic_steps, sample_chain
from pirl.flow.density import bernoulli_log_prob
from pirl.flow.kernels import euler_mean, flow_sde, native_mean, time_grid

K, SAMPLES = 3, 100_000
THETA = torch.tensor([0.6, 0.3, -0.2, 1.1, 0.1], dtype=torch.float64)
COUNTED = torch.tensor([[True, False]])
GRID = time_grid(K, dtype=torch.float64)


def denoiser(theta):
    """Dimension 0 flows, dimension 1 is the gripper's logit; theta [N, 5]."""

    def denoise(x, t):
        flow = theta[:, 0] * x[:, 0, 0] + theta[:, 1] * t + theta[:, 2]
        logit = theta[:, 3] * x[:, 0, 0] + theta[:, 4]
        return Output(torch.stack([flow, logit], dim=-1)[:, None], x)

    return denoise


def native(x, first, output, t, t_next):
    return native_mean(first, output.prediction, t_next), torch.full_like(x, 0.3)


def euler(x, first, output, t, t_next):
    return euler_mean(x, output.prediction, t, t_next, "action"), torch.zeros(())


def sde(x, first, output, t, t_next):
    return flow_sde(x, output.prediction, t, t_next, "action", 0.7)


def run(theta, deterministic, stochastic, which):
    """A chain from one fixed stream of noise: common random numbers for finite differences."""
    torch.manual_seed(7)
    steps = draw_stochastic_steps(which, SAMPLES, K)
    noise = torch.randn(SAMPLES, 1, 2, dtype=torch.float64)
    expanded = theta.expand(SAMPLES, -1)
    return sample_chain(denoiser(expanded), noise, GRID, deterministic, stochastic, steps, COUNTED), steps


def reward(action, gripper):
    return torch.sin(2 * action) - 0.5 * (action - 0.4) ** 2 + gripper * (0.5 + action)


def expected_reward(chain):
    """The gripper is summed out exactly."""
    action, probability = chain.states[:, -1, 0, 0], torch.sigmoid(chain.last.prediction[:, 0, 1])
    return probability * reward(action, 1.0) + (1 - probability) * reward(action, 0.0)


def finite_differences(*kernels):
    h, columns = 1e-4, []
    for index in range(len(THETA)):
        step = torch.zeros_like(THETA)
        step[index] = h
        upper, lower = (expected_reward(run(THETA + s, *kernels)[0]) for s in (step, -step))
        columns.append((upper - lower) / (2 * h))
    return torch.stack(columns, dim=-1)


def score_gradients(deterministic, stochastic, which):
    """Per sample, [N, 5]."""
    chain, steps = run(THETA, deterministic, stochastic, which)
    logit = chain.last.prediction[:, 0, 1]
    torch.manual_seed(8)
    gripper = torch.bernoulli(torch.sigmoid(logit))
    returns = reward(chain.states[:, -1, 0, 0], gripper)
    theta = THETA.expand(SAMPLES, -1).clone().requires_grad_()
    result = chain_log_prob(denoiser(theta), chain.states, GRID, stochastic, steps, COUNTED)
    last = result.last or denoiser(theta)(chain.states[:, -2], GRID[-2].expand(SAMPLES))
    log_prob = result.log_prob.sum(-1) + bernoulli_log_prob(gripper, last.prediction[:, 0, 1])
    log_prob.sum().backward()
    return (returns - returns.mean())[:, None] * theta.grad


@pytest.mark.parametrize(
    ("deterministic", "stochastic"), [(native, native), (euler, sde)], ids=["flow_noise", "flow_sde_all"]
)
def test_full_chain_gradient_is_unbiased(deterministic, stochastic):
    score = score_gradients(deterministic, stochastic, "all")
    exact = finite_differences(deterministic, stochastic, "all")
    error = (score.mean(0) - exact.mean(0)).abs()
    interval = 4 * (score.std(0) ** 2 + exact.std(0) ** 2).sqrt() / SAMPLES**0.5
    assert (error < interval).all(), f"error {error.tolist()}, interval {interval.tolist()}"
    assert (exact.mean(0).abs() > 2 * interval).any(), "the test has no power"


def test_hybrid_gradient_points_the_same_way_and_is_exact_for_the_gripper():
    """One stochastic step treats the other K - 1 calls as environment: the known bias of the hybrid."""
    score = score_gradients(euler, sde, "one")
    exact = finite_differences(euler, sde, "one").mean(0)
    mean, interval = score.mean(0), 4 * score.std(0) / SAMPLES**0.5
    assert torch.cosine_similarity(mean[:3], exact[:3], dim=0) > 0.9
    assert mean[:3].norm() < 0.8 * exact[:3].norm()
    assert ((mean - exact).abs() < interval)[3:].all()
