"""Chains: marginals on toys with exact predictions, masks, log-probs."""

import pytest
import torch
from scipy.stats import wasserstein_distance

from pirl.flow.chain import ALL_STEPS, Output, chain_log_prob, draw_stochastic_steps, sample_chain
from pirl.flow.density import gaussian_log_prob
from pirl.flow.kernels import euler_mean, flow_sde, native_mean, time_grid

WEIGHTS, MEANS, STDS = torch.tensor([0.3, 0.7]), torch.tensor([-1.0, 0.8]), torch.tensor([0.15, 0.3])


def exact_action(x, t):
    """E[a | x_t] of the two-mode mixture, in closed form."""
    x, t = x.double(), t.double()
    variance = (1 - t) ** 2 * STDS**2 + t**2
    residual = x[..., None] - (1 - t) * MEANS
    posterior = torch.softmax(
        torch.log(WEIGHTS) - 0.5 * residual**2 / variance - 0.5 * variance.log(), dim=-1
    )
    return (posterior * (MEANS + (1 - t) * STDS**2 / variance * residual)).sum(-1)


def denoiser(kind):
    def denoise(x, t):
        action = exact_action(x, t[0]).to(x.dtype)
        time = t.view(-1, 1, 1)
        return Output(action if kind == "action" else (x - action) / time, x)

    return denoise


def kernels(kind, level):
    return (
        lambda x, first, out, t, t_next: (euler_mean(x, out.prediction, t, t_next, kind), torch.zeros(())),
        lambda x, first, out, t, t_next: flow_sde(x, out.prediction, t, t_next, kind, level),
    )


def data(count):
    component = torch.multinomial(WEIGHTS, count, replacement=True)
    return MEANS[component] + STDS[component] * torch.randn(count)


def sampled_distance(kind, steps, level, count=60_000):
    """Wasserstein-1 between the chain's last state and the data."""
    torch.manual_seed(0)
    every = torch.full((count,), ALL_STEPS)
    chain = sample_chain(
        denoiser(kind),
        torch.randn(count, 1, 1),
        time_grid(steps),
        *kernels(kind, level),
        every,
        torch.ones(1, 1, dtype=torch.bool),
    )
    return wasserstein_distance(chain.states[:, -1].flatten().numpy(), data(count).numpy())


@pytest.mark.parametrize("kind", ["action", "velocity"])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.8])
def test_marginals_converge_to_the_data_as_k_grows(kind, level):
    coarse, middle, fine = (sampled_distance(kind, steps, level) for steps in (4, 16, 64))
    assert coarse > middle > fine
    assert fine < 0.025


def test_xvla_sampler_drifts_from_a_broad_law_as_k_grows():
    """Why Flow-SDE needs the Euler mean: the native sampler is no discretisation of the flow."""

    def distance(steps):
        torch.manual_seed(0)
        first = torch.randn(20_000, 1, 1)

        def native(x, e, out, t, t_next):
            return native_mean(e, out.prediction, t_next), torch.zeros(())

        none = torch.full((len(first),), -2)
        chain = sample_chain(
            denoiser("action"),
            first,
            time_grid(steps),
            native,
            native,
            none,
            torch.ones(1, 1, dtype=torch.bool),
        )
        return wasserstein_distance(chain.states[:, -1].flatten().numpy(), data(20_000).numpy())

    assert distance(4) < 0.12 and distance(64) > 0.3


def linear_denoiser(x, t):
    return Output(0.5 * x + t.view(-1, 1, 1), x)


@pytest.mark.parametrize("which", ["one", "last", "all"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_sampled_and_recomputed_log_probs_agree(which, reduction, correlation):
    torch.manual_seed(1)
    counted = torch.zeros(3, 4, dtype=torch.bool)
    counted[:2, :3] = True
    steps = draw_stochastic_steps(which, 16, 5)
    deterministic, stochastic = kernels("action", 0.5)
    chain = sample_chain(
        linear_denoiser,
        torch.randn(16, 3, 4),
        time_grid(5),
        deterministic,
        stochastic,
        steps,
        counted,
        reduction,
        correlation,
    )
    again = chain_log_prob(
        linear_denoiser, chain.states, time_grid(5), stochastic, steps, counted, reduction, correlation
    )
    torch.testing.assert_close(again.log_prob, chain.log_prob)
    assert (again.log_prob[:, 2] == 0).all()
    if which == "all" and not correlation:
        by_hand = torch.zeros(16, 3)
        grid = time_grid(5)
        for k in range(5):
            x = chain.states[:, k]
            out = linear_denoiser(x, grid[k].expand(16))
            mean, std = stochastic(x, None, out, grid[k], grid[k + 1])
            by_hand += (gaussian_log_prob(chain.states[:, k + 1], mean, std.expand_as(mean)) * counted).sum(
                -1
            )
        torch.testing.assert_close(again.log_prob, by_hand / (5 if reduction == "mean" else 1))


def test_noise_is_put_in_only_where_it_is_counted():
    counted = torch.zeros(3, 4, dtype=torch.bool)
    counted[0, 1] = True
    steps = torch.full((32,), ALL_STEPS)
    first = torch.randn(1, 3, 4).expand(32, 3, 4)

    def run(level):
        return sample_chain(
            linear_denoiser, first, time_grid(4), *kernels("action", level), steps, counted
        ).states

    noisy, quiet = run(0.5), run(0.0)
    differs = (noisy[:, -1] - quiet[:, -1]).abs().amax(0) > 1e-6
    assert torch.equal(differs, counted)


def test_hybrid_draws_every_step_equally_often_and_per_decision():
    torch.manual_seed(0)
    steps = draw_stochastic_steps("one", 40_000, 4)
    counts = torch.bincount(steps, minlength=4) / 40_000
    assert torch.allclose(counts, torch.full((4,), 0.25), atol=0.01)


def test_mixed_batches_are_refused():
    states = torch.zeros(2, 3, 1, 1)
    with pytest.raises(ValueError, match="mixes decisions"):
        chain_log_prob(
            linear_denoiser,
            states,
            time_grid(2),
            kernels("action", 0.5)[1],
            torch.tensor([0, ALL_STEPS]),
            torch.ones(1, 1, dtype=torch.bool),
        )


def test_one_stochastic_step_costs_one_denoiser_call():
    calls = []

    def counting(x, t):
        calls.append(t)
        return linear_denoiser(x, t)

    states = torch.randn(6, 5, 2, 2)
    counted = torch.ones(2, 2, dtype=torch.bool)
    chain_log_prob(counting, states, time_grid(4), kernels("action", 0.5)[1], torch.arange(6) % 4, counted)
    assert len(calls) == 1
