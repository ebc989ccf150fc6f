"""PPO's losses; pure functions of ratios, advantages and values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# exp of more than this is no ratio any more, only an overflow.
MAX_LOG_RATIO = 20.0


def log_ratios(log_prob: Tensor, old_log_prob: Tensor, executed: Tensor, level: str) -> tuple[Tensor, Tensor]:
    """Log-ratios at the level at which they are clipped.

    Args:
        log_prob: present policy, per action step, [B, H].
        old_log_prob: behaviour policy, [B, H].
        executed: True for steps the environment executed; others carry no credit, [B, H].
        level: `step` keeps one ratio per action step, `chunk` multiplies those of a decision.

    Returns:
        Log-ratios and their weights (1 where a ratio exists), [B, H] or [B, 1].
    """
    difference = torch.where(executed, log_prob - old_log_prob, torch.zeros_like(log_prob))
    if level == "chunk":
        difference = difference.sum(-1, keepdim=True)
        executed = executed.any(-1, keepdim=True)
    return difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO), executed.to(log_prob.dtype)


def policy_loss(
    log_ratio: Tensor, weight: Tensor, advantages: Tensor, clip: float, dual_clip: float | None
) -> Tensor:
    """Clipped surrogate, summed with its weights; divide by the total weight of the minibatch.

    Args:
        log_ratio: [B, R].
        weight: [B, R].
        advantages: [B].
        clip: epsilon of PPO.
        dual_clip: c > 1 bounds the loss at -c A for A < 0 (Ye et al. 2020); None: off.
    """
    ratio, advantage = log_ratio.exp(), advantages[:, None]
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip))
    if dual_clip is not None:
        loss = torch.where(advantage < 0, torch.minimum(loss, -advantage * dual_clip), loss)
    return (loss * weight).sum()


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None, huber_delta: float
) -> Tensor:
    """Mean Huber loss of the worse of the free and the clipped prediction, [B] -> scalar."""
    loss = F.huber_loss(values, returns, delta=huber_delta, reduction="none")
    if clip is not None:
        clipped = old_values + (values - old_values).clamp(-clip, clip)
        loss = torch.maximum(loss, F.huber_loss(clipped, returns, delta=huber_delta, reduction="none"))
    return loss.mean()


def approximate_kl(log_ratio_per_step: Tensor, executed: Tensor) -> Tensor:
    """KL(behaviour || present) in nats per decision, summed over its executed steps, [B, H] -> [B].

    Schulman's non-negative estimator (ratio - 1) - log ratio, applied step by step: the steps of a chunk are
    conditionally independent, and the sum varies less than the estimator of the joint ratio.
    """
    log_ratio = log_ratio_per_step.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return ((log_ratio.exp() - 1 - log_ratio) * executed).sum(-1)
