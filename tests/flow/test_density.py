"""Log-densities and entropies against the reference and against torch.distributions."""

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Normal

from pirl.flow.density import (
    bernoulli_entropy,
    bernoulli_log_prob,
    gaussian_entropy,
    gaussian_log_prob,
    logistic_log_prob,
)
from tests.flow.vectors import VECTORS, assert_close


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gaussian_log_prob_matches_the_reference(dtype):
    for case in VECTORS["log_prob"]:
        sample, mean, std = (torch.tensor(case[key], dtype=dtype) for key in ("sample", "mean", "std"))
        assert_close(gaussian_log_prob(sample, mean, std), case["log_prob"], dtype)


def test_gaussian_matches_torch_and_counts_nothing_without_noise():
    torch.manual_seed(0)
    sample, mean, std = torch.randn(5), torch.randn(5), torch.rand(5) + 0.1
    torch.testing.assert_close(gaussian_log_prob(sample, mean, std), Normal(mean, std).log_prob(sample))
    torch.testing.assert_close(gaussian_entropy(std), Normal(mean, std).entropy())
    std[2] = 0.0
    assert float(gaussian_log_prob(sample, mean, std)[2]) == 0.0
    assert float(gaussian_entropy(std)[2]) == 0.0


def test_no_gradient_flows_where_there_is_no_noise():
    mean = torch.zeros(2, requires_grad=True)
    gaussian_log_prob(torch.ones(2), mean, torch.tensor([0.0, 1.0])).sum().backward()
    assert mean.grad.tolist() == [0.0, 1.0]


@given(sample=st.floats(-50, 50), scale=st.floats(0.2, 5))
def test_logistic_matches_scipy(sample, scale):
    expected = scipy.stats.logistic.logpdf(sample, scale=scale)
    assert float(logistic_log_prob(torch.tensor(sample, dtype=torch.float64), scale)) == pytest.approx(
        expected
    )


@given(logit=st.floats(-30, 30), temperature=st.floats(0.2, 3), outcome=st.sampled_from([0.0, 1.0]))
def test_bernoulli_matches_torch(logit, temperature, outcome):
    logit = torch.tensor(logit, dtype=torch.float64)
    outcome = torch.tensor(outcome, dtype=torch.float64)
    expected = Bernoulli(logits=logit / temperature)
    torch.testing.assert_close(bernoulli_log_prob(outcome, logit, temperature), expected.log_prob(outcome))
    torch.testing.assert_close(
        bernoulli_entropy(logit, temperature), expected.entropy(), atol=1e-7, rtol=1e-5
    )
