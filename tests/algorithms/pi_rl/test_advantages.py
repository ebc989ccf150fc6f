"""Returns and advantages against the reference and by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pirl.algorithms.pi_rl.advantages import (
    explained_variance,
    generalised_advantages,
    group_advantages,
    normalise,
)
from tests.flow.vectors import VECTORS, assert_close


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", VECTORS["gae"])
def test_gae_matches_the_reference(case, dtype):
    def column_major(key, kind=dtype):
        return torch.tensor(case[key]).to(kind).T.flatten()

    rewards, done = column_major("reward_per_decision"), column_major("done_after_decision", torch.bool)
    values = torch.tensor(case["values"], dtype=dtype)[:-1].T.flatten()
    advantages, returns = generalised_advantages(
        rewards,
        values,
        torch.zeros_like(values),
        done,
        done,
        torch.full_like(values, case["gamma"]),
        case["lam"],
    )
    valid = column_major("valid", torch.bool)
    assert_close(returns[valid], torch.tensor(case["returns"]).T.flatten()[valid], dtype)
    normalised = normalise(advantages[valid])
    assert_close(normalised, torch.tensor(case["advantages_normalised"]).T.flatten()[valid], dtype)


def test_time_outs_bootstrap_and_successes_do_not():
    gamma, lam = 0.9, 0.5
    rewards, values = torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    done, end = torch.tensor([False, False, False, True]), torch.tensor([False, True, False, True])
    final = torch.tensor([9.0, 0.7, 9.0, 9.0])
    advantages, returns = generalised_advantages(
        rewards, values, final, done, end, torch.full((4,), gamma), lam
    )
    timed_out = 0 + gamma * 0.7 - 0.2
    succeeded = 1 - 0.4
    expected = [
        gamma * 0.2 - 0.1 + gamma * lam * timed_out,
        timed_out,
        gamma * 0.4 - 0.3 + gamma * lam * succeeded,
        succeeded,
    ]
    assert advantages.tolist() == pytest.approx(expected)
    assert torch.allclose(returns, advantages + values)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(0.5, 1.0))
def test_lambda_one_gives_discounted_returns(rewards, gamma):
    count = len(rewards)
    end = torch.zeros(count, dtype=torch.bool)
    end[-1] = True
    _, returns = generalised_advantages(
        torch.tensor(rewards, dtype=torch.float64),
        torch.randn(count, dtype=torch.float64),
        torch.zeros(count, dtype=torch.float64),
        end,
        end,
        torch.full((count,), gamma, dtype=torch.float64),
        1.0,
    )
    expected = sum(reward * gamma**i for i, reward in enumerate(rewards))
    assert float(returns[0]) == pytest.approx(expected, abs=1e-9)


def test_grpo_matches_the_reference():
    case = VECTORS["grpo"][0]
    scores = torch.tensor(case["rewards_per_group"], dtype=torch.float64)
    groups = torch.arange(scores.shape[0]).repeat_interleave(scores.shape[1])
    assert_close(group_advantages(scores.flatten(), groups), case["advantages"], torch.float64)


def test_grpo_gives_nothing_to_groups_of_one():
    assert group_advantages(torch.tensor([1.0]), torch.tensor([0])).tolist() == [0.0]


def test_normalisation_does_not_blow_up_noise():
    noise = torch.randn(100) * 1e-6
    assert float(normalise(noise, std_floor=0.01).abs().max()) < 1e-3
    assert float(normalise(torch.randn(1000) * 5 + 3).std()) == pytest.approx(1, abs=1e-3)


def test_explained_variance():
    returns = torch.tensor([0.0, 1.0, 2.0])
    assert explained_variance(returns, returns) == pytest.approx(1.0)
    assert explained_variance(torch.ones(3), returns) == pytest.approx(0.0)
    assert math.isnan(explained_variance(returns, torch.ones(3)))
