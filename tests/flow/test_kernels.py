"""Transition kernels against the reference's numbers and closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pirl.flow.kernels import (
    bounded_std,
    endpoints,
    euler_mean,
    flow_sde,
    flow_sde_scale,
    native_mean,
    time_grid,
)
from tests.flow.vectors import VECTORS, assert_close

KERNELS = VECTORS["kernels"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "case", KERNELS, ids=lambda c: f"{c['kernel']}-{c['noise_level']}-K{c['K']}-k{c['k']}"
)
def test_kernels_match_the_reference(case, dtype):
    x, velocity = torch.tensor(case["x"], dtype=dtype), torch.tensor(case["velocity"], dtype=dtype)
    grid = time_grid(case["K"], dtype=dtype)
    t, t_next = grid[case["k"]], grid[case["k"] + 1]
    if case["kernel"] == "flow_ode":
        mean, std = euler_mean(x, velocity, t, t_next, "velocity"), torch.zeros_like(x)
    else:
        mean, std = flow_sde(x, velocity, t, t_next, "velocity", case["noise_level"])
    assert_close(mean, case["mean"], dtype)
    assert_close(std.expand_as(mean), case["std"], dtype)


@pytest.mark.parametrize(
    "case", KERNELS, ids=lambda c: f"{c['kernel']}-{c['noise_level']}-K{c['K']}-k{c['k']}"
)
def test_action_prediction_gives_the_same_kernel(case):
    x, velocity = torch.tensor(case["x"]).double(), torch.tensor(case["velocity"]).double()
    grid = time_grid(case["K"], dtype=torch.float64)
    t, t_next = grid[case["k"]], grid[case["k"] + 1]
    action, _ = endpoints(x, velocity, t, "velocity")
    mean, std = flow_sde(x, action, t, t_next, "action", case["noise_level"])
    expected, expected_std = flow_sde(x, velocity, t, t_next, "velocity", case["noise_level"])
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(std, expected_std)


@given(k=st.integers(0, 9), level=st.floats(0.0, 1.0), seed=st.integers(0, 100))
def test_sde_mean_is_the_weighted_sum_of_the_endpoints(k, level, seed):
    generator = torch.Generator().manual_seed(seed)
    x, prediction = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    grid = time_grid(10, dtype=torch.float64)
    t, t_next = grid[k], grid[k + 1]
    d, scale = t - t_next, flow_sde_scale(t, t_next, level)
    for kind in ("action", "velocity"):
        action, noise = endpoints(x, prediction, t, kind)
        expected = (1 - t_next) * action + (t_next - scale**2 * d / (2 * t)) * noise
        torch.testing.assert_close(flow_sde(x, prediction, t, t_next, kind, level)[0], expected)


@given(k=st.integers(0, 7), seed=st.integers(0, 100))
def test_endpoints_are_consistent_with_the_interpolant(k, seed):
    generator = torch.Generator().manual_seed(seed)
    action, noise = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    t = time_grid(8, dtype=torch.float64)[k]
    x = (1 - t) * action + t * noise
    for prediction, kind in ((noise - action, "velocity"), (action, "action")):
        found = endpoints(x, prediction, t, kind)
        torch.testing.assert_close(found[0], action)
        torch.testing.assert_close(found[1], noise)


def test_last_step_of_action_prediction_returns_the_action_exactly():
    x, action, first = torch.randn(3, 4, 5)
    t, t_next = torch.tensor(0.25), torch.tensor(0.0)
    assert torch.equal(euler_mean(x, action, t, t_next, "action"), action)
    assert torch.equal(native_mean(first, action, t_next), action)


def test_first_step_uses_the_next_grid_time_in_the_denominator():
    grid = time_grid(4)
    assert float(flow_sde_scale(grid[0], grid[1], 0.5)) == pytest.approx(0.5 / math.sqrt(0.25))
    _, std = flow_sde(torch.zeros(1), torch.zeros(1), grid[0], grid[1], "action", 0.5)
    assert float(std) == pytest.approx(0.5)


def test_first_step_adds_the_known_excess_variance():
    """For a point mass at 0 the variance of x_1 exceeds t_1^2 by eta^2 / K + eta^4 / 4."""
    eta, steps = 0.5, 4
    torch.manual_seed(0)
    x = torch.randn(400_000, dtype=torch.float64)
    grid = time_grid(steps, dtype=torch.float64)
    mean, std = flow_sde(x, torch.zeros_like(x), grid[0], grid[1], "action", eta)
    variance = (mean + std * torch.randn_like(x)).var()
    assert float(variance - grid[1] ** 2) == pytest.approx(eta**2 / steps + eta**4 / 4, abs=3e-3)


def test_noise_level_may_differ_per_dimension():
    level = torch.tensor([0.0, 0.5])
    mean, std = flow_sde(
        torch.ones(1, 1, 2), torch.zeros(1, 1, 2), torch.tensor(0.5), torch.tensor(0.25), "action", level
    )
    assert float(std.flatten()[0]) == 0.0 and float(std.flatten()[1]) > 0
    assert float(mean.flatten()[0]) == pytest.approx(0.5)


@given(raw=st.floats(-50, 50), lowest=st.floats(0.01, 0.2), ratio=st.floats(1.0, 5.0))
def test_learned_std_stays_within_its_bounds(raw, lowest, ratio):
    std = float(bounded_std(torch.tensor(raw, dtype=torch.float64), lowest, lowest * ratio))
    assert lowest * (1 - 1e-9) <= std <= lowest * ratio * (1 + 1e-9)


def test_learned_std_starts_at_the_geometric_mean():
    assert float(bounded_std(torch.zeros(()), 0.08, 0.16)) == pytest.approx(math.sqrt(0.08 * 0.16))


def test_grid_ends_at_exactly_zero_and_needs_a_step():
    assert time_grid(3).tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert float(time_grid(7)[-1]) == 0.0
    with pytest.raises(ValueError, match="denoising steps"):
        time_grid(0)
