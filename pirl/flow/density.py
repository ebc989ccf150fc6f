"""Log-densities and entropies of the distributions a chain is made of, in nats."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pirl.flow.correlation import log_innovation_std, whiten

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_prob(sample: Tensor, mean: Tensor, std: Tensor, correlation: float = 0.0) -> Tensor:
    """Log-density per entry of N(mean, std^2); entries without noise (std 0) count 0.

    Positive values are legal: a density exceeds 1 where std is small.

    Args:
        sample: [..., C, D]; [B, C, D] when correlated.
        mean: same shape.
        std: broadcastable, >= 0.
        correlation: of the noise between neighbouring steps of the chunk; an entry's density is then the
            conditional one, given the steps before it, and noise must fill the chunk from its first step on.
            With 1 all steps share one draw, and the first entry holds the density of the chunk's mean.
    """
    if correlation == 1:
        return _of_the_mean(gaussian_log_prob(_mean(sample, std), _mean(mean, std), _mean(std, std)), std)
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    log_prob = -0.5 * whiten((sample - mean) / safe, correlation) ** 2 - torch.log(safe) - 0.5 * LOG_2PI
    if correlation:
        log_prob = log_prob - log_innovation_std(log_prob.shape[-2], correlation, log_prob)
    return torch.where(noisy, log_prob, torch.zeros_like(log_prob))


def gaussian_entropy(std: Tensor, correlation: float = 0.0) -> Tensor:
    """Differential entropy per entry of std [..., C, D], given the steps before it; 0 where std is 0."""
    if correlation == 1:
        return _of_the_mean(gaussian_entropy(_mean(std, std)), std)
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    entropy = 0.5 * (LOG_2PI + 1) + torch.log(safe)
    if correlation:
        entropy = entropy + log_innovation_std(std.shape[-2], correlation, std)
    return torch.where(noisy, entropy, torch.zeros_like(std))


def _mean(entries: Tensor, std: Tensor) -> Tensor:
    """Mean over those steps of the chunk that have noise, [..., C, D] -> [..., 1, D]; 0 without any."""
    noisy = (std > 0).expand_as(entries)
    return torch.where(noisy, entries, 0).sum(-2, keepdim=True) / noisy.sum(-2, keepdim=True).clamp_min(1)


def _of_the_mean(values: Tensor, std: Tensor) -> Tensor:
    """Values [..., 1, D] of the chunk's mean in the first of its steps, 0 in the others, [..., C, D]."""
    return F.pad(values, (0, 0, 0, std.shape[-2] - 1))


def bernoulli_log_prob(outcome: Tensor, logit: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of 0/1 outcomes under sigmoid(logit / temperature), per entry."""
    return -F.binary_cross_entropy_with_logits(logit / temperature, outcome, reduction="none")


def logistic_log_prob(sample: Tensor, scale: float) -> Tensor:
    """Log density of the logistic distribution around 0, per entry."""
    return F.logsigmoid(sample / scale) + F.logsigmoid(-sample / scale) - math.log(scale)


def bernoulli_entropy(logit: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy of a Bernoulli variable with sigmoid(logit / temperature), per entry."""
    scaled = logit / temperature
    return F.softplus(scaled) - scaled * torch.sigmoid(scaled)
