"""Log-densities and entropies of the distributions a chain is made of, in nats."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_prob(sample: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density per entry of N(mean, std^2); entries without noise (std 0) count 0.

    Positive values are legal: a density exceeds 1 where std is small.

    Args:
        sample: [..., C, D].
        mean: same shape.
        std: broadcastable, >= 0.
    """
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    log_prob = -0.5 * ((sample - mean) / safe) ** 2 - torch.log(safe) - 0.5 * LOG_2PI
    return torch.where(noisy, log_prob, torch.zeros_like(log_prob))


def gaussian_entropy(std: Tensor) -> Tensor:
    """Differential entropy per entry; entries without noise (std 0) count 0."""
    noisy = std > 0
    safe = torch.where(noisy, std, torch.ones_like(std))
    return torch.where(noisy, 0.5 * (LOG_2PI + 1) + torch.log(safe), torch.zeros_like(std))


def bernoulli_log_prob(outcome: Tensor, logit: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probability of 0/1 outcomes under sigmoid(logit / temperature), per entry."""
    return -F.binary_cross_entropy_with_logits(logit / temperature, outcome, reduction="none")


def bernoulli_entropy(logit: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy of a Bernoulli variable with sigmoid(logit / temperature), per entry."""
    scaled = logit / temperature
    return F.softplus(scaled) - scaled * torch.sigmoid(scaled)
