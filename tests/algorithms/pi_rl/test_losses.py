"""PPO's losses against the reference and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pirl.algorithms.pi_rl.losses import approximate_kl, log_ratios, policy_loss, value_loss
from tests.flow.vectors import VECTORS, assert_close


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", VECTORS["ppo"], ids=["clip", "dual_clip"])
def test_total_loss_matches_the_reference(case, dtype):
    keys = ("log_prob", "old_log_prob", "advantages", "returns", "values", "old_values")
    log_prob, old, advantages, returns, values, old_values = (
        torch.tensor(case[k], dtype=dtype) for k in keys
    )
    executed = torch.ones(log_prob.shape[:2], dtype=torch.bool)
    log_ratio, weight = log_ratios(log_prob.sum(-1), old.sum(-1), executed, "chunk")
    loss = policy_loss(log_ratio, weight, advantages, case["clip"], case["dual_clip"]) / len(advantages)
    loss = loss + value_loss(values, old_values, returns, case["value_clip"], case["huber_delta"])
    assert_close(loss, torch.tensor(case["loss"]), dtype)


def test_dual_clip_bounds_the_loss_of_bad_actions():
    log_ratio, weight = torch.tensor([[3.0]]), torch.ones(1, 1)
    assert float(policy_loss(log_ratio, weight, torch.tensor([-1.0]), 0.2, 3.0)) == pytest.approx(3.0)
    assert float(policy_loss(log_ratio, weight, torch.tensor([-1.0]), 0.2, None)) == pytest.approx(
        20.09, abs=0.01
    )
    assert float(policy_loss(log_ratio, weight, torch.tensor([1.0]), 0.2, 3.0)) == pytest.approx(-1.2)


@given(st.integers(1, 4), st.integers(0, 50))
def test_steps_that_were_not_executed_carry_no_credit(executed_steps, seed):
    generator = torch.Generator().manual_seed(seed)
    new, old = torch.randn(2, 3, 4, generator=generator)
    executed = (torch.arange(4) < executed_steps).expand(3, 4)
    changed = torch.where(executed, new, new + 5)
    for level in ("step", "chunk"):
        kept, altered = (log_ratios(value, old, executed, level) for value in (new, changed))
        assert torch.equal(kept[0], altered[0]) and torch.equal(kept[1], altered[1])


def test_chunk_ratio_is_the_product_of_step_ratios():
    new, old = torch.randn(2, 3, 4)
    executed = torch.ones(3, 4, dtype=torch.bool)
    steps, chunk = (log_ratios(new, old, executed, level)[0] for level in ("step", "chunk"))
    torch.testing.assert_close(steps.sum(-1, keepdim=True), chunk)


def test_kl_estimate_is_unbiased_and_not_negative():
    torch.manual_seed(0)
    sample = torch.randn(200_000, 1, dtype=torch.float64) * 0.5
    shift = 0.1
    log_ratio = (sample**2 - (sample - shift) ** 2) / (2 * 0.25)
    estimate = approximate_kl(log_ratio, torch.ones_like(log_ratio, dtype=torch.bool))
    assert (estimate >= 0).all()
    assert float(estimate.mean()) == pytest.approx(shift**2 / (2 * 0.25), rel=0.05)


def test_value_clipping_takes_the_worse_prediction():
    loss = value_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]), 0.2, 10.0)
    assert float(loss) == pytest.approx(0.5 * 0.8**2)
