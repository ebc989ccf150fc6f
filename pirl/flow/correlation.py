"""Noise that is correlated along a chunk: a stationary first-order autoregressive series of unit variance.

A controller that follows absolute poses averages white noise away; what is shared by neighbouring steps moves
the arm. Each step is Gaussian given the steps before it, so a log-prob per step keeps its meaning.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def correlate(white: Tensor, correlation: float) -> Tensor:
    """e_0 = z_0, e_i = rho e_{i-1} + sqrt(1 - rho^2) z_i, with unit variance at every step.

    Args:
        white: independent unit noise z, [B, C, D].
        correlation: rho in [0, 1] between neighbouring steps; 0 returns `white` itself, 1 its first step.
    """
    if not correlation:
        return white
    if correlation == 1:
        return white[:, :1].expand_as(white)
    steps = [white[:, 0]]
    for z in white[:, 1:].unbind(1):
        steps.append(correlation * steps[-1] + math.sqrt(1 - correlation**2) * z)
    return torch.stack(steps, dim=1)


def whiten(series: Tensor, correlation: float) -> Tensor:
    """Inverse of `correlate`: the independent z of a series [B, C, D]."""
    if not correlation:
        return series
    innovations = (series[:, 1:] - correlation * series[:, :-1]) / math.sqrt(1 - correlation**2)
    return torch.cat([series[:, :1], innovations], dim=1)


def log_innovation_std(steps: int, correlation: float, like: Tensor) -> Tensor:
    """Log std of each step given those before it, [C, 1]: 0 for the first, log sqrt(1 - rho^2) then."""
    log_std = torch.full(
        (steps, 1), 0.5 * math.log1p(-(correlation**2)), dtype=like.dtype, device=like.device
    )
    log_std[0] = 0
    return log_std
