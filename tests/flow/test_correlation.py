"""Correlated noise: unit variance, an exact inverse, the joint density of a multivariate normal."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal

from pirl.flow.correlation import correlate, whiten
from pirl.flow.density import gaussian_entropy, gaussian_log_prob

RHO = st.floats(0.0, 0.99)


def covariance(std, correlation):
    """Covariance [C, C] of one dim whose steps have `std` [C]."""
    lag = (torch.arange(len(std))[:, None] - torch.arange(len(std))).abs()
    return std[:, None] * std * correlation ** lag.to(std.dtype)


@given(correlation=RHO, steps=st.integers(1, 12), seed=st.integers(0, 99))
def test_whitening_undoes_correlating(correlation, steps, seed):
    white = torch.randn(2, steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(whiten(correlate(white, correlation), correlation), white)


def test_every_step_has_unit_variance_and_neighbours_the_stated_correlation():
    series = correlate(torch.randn(40_000, 6, 1, generator=torch.Generator().manual_seed(0)), 0.8)[..., 0]
    torch.testing.assert_close(torch.cov(series.T), covariance(torch.ones(6), 0.8), atol=0.03, rtol=0)


@given(correlation=RHO, seed=st.integers(0, 99))
def test_log_probs_of_the_steps_add_up_to_the_joint_density(correlation, seed):
    generator = torch.Generator().manual_seed(seed)
    sample, mean = torch.randn(2, 3, 5, 2, dtype=torch.float64, generator=generator)
    std = torch.rand(3, 5, 2, dtype=torch.float64, generator=generator) + 0.2
    log_prob = gaussian_log_prob(sample, mean, std, correlation).sum(-2)
    entropy = gaussian_entropy(std, correlation).sum(-2)
    for row in range(3):
        for dim in range(2):
            joint = MultivariateNormal(mean[row, :, dim], covariance(std[row, :, dim], correlation))
            torch.testing.assert_close(log_prob[row, dim], joint.log_prob(sample[row, :, dim]))
            torch.testing.assert_close(entropy[row, dim], joint.entropy())


@given(noisy_steps=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_shared_draw_counts_once_as_the_density_of_the_chunks_mean(noisy_steps, seed):
    generator = torch.Generator().manual_seed(seed)
    white, mean = torch.randn(2, 3, 5, 2, dtype=torch.float64, generator=generator)
    std = torch.rand(3, 5, 2, dtype=torch.float64, generator=generator) + 0.2
    std[:, noisy_steps:] = 0
    noise = correlate(white, 1.0)
    sample, noisy = mean + std * noise, slice(0, noisy_steps)
    log_prob, entropy = gaussian_log_prob(sample, mean, std, 1.0), gaussian_entropy(std, 1.0)
    chunk = Normal(mean[:, noisy].mean(1), std[:, noisy].mean(1))
    assert (noise == white[:, :1]).all()
    torch.testing.assert_close(log_prob[:, 0], chunk.log_prob(sample[:, noisy].mean(1)))
    torch.testing.assert_close(log_prob[:, 0], chunk.log_prob(chunk.mean + chunk.stddev * white[:, 0]))
    torch.testing.assert_close(entropy[:, 0], chunk.entropy())
    assert not log_prob[:, 1:].any() and not entropy[:, 1:].any()


def test_a_shared_draws_gradient_is_the_same_for_every_step_of_the_chunk():
    mean = torch.zeros(2, 4, 3, requires_grad=True)
    sample = correlate(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)), 1.0)
    gaussian_log_prob(sample, mean, torch.ones(2, 4, 3), 1.0).sum().backward()
    torch.testing.assert_close(mean.grad, sample / 4)
