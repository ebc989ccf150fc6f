"""Transition kernels x' ~ N(mean, std^2 I) of one denoising step, from t to t' < t.

Every kernel needs two endpoint estimates, the action a^ and the noise e^. They are written here as weights of
x and of the network's own prediction, so that nothing cancels: a velocity policy predicts v = e - a, an
action-predicting policy (XVLA) predicts a itself. t is never 0 when a step starts.

Source: arXiv 2510.25889 (PI-RL), Flow-GRPO for the SDE's coefficients, ReinFlow for the learned noise.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["action", "velocity"]


def time_grid(
    steps: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Tensor:
    """The uniform grid t_k = 1 - k/K, [K + 1], from 1 down to exactly 0.

    Raises:
        ValueError: when there is no step.
    """
    if steps < 1:
        raise ValueError(f"denoising steps: must be at least 1, got {steps}")
    return torch.tensor([(steps - k) / steps for k in range(steps + 1)], dtype=dtype, device=device)


def endpoints(x: Tensor, prediction: Tensor, t: Tensor, kind: Prediction) -> tuple[Tensor, Tensor]:
    """Estimates of the action and of the noise between which x lies.

    Args:
        x: noisy action at t, [B, C, D].
        prediction: what the network returned, [B, C, D].
        t: flow time in (0, 1], broadcastable to x.
        kind: what the prediction is.

    Returns:
        Action a^ and noise e^, [B, C, D] each.
    """
    if kind == "velocity":
        return x - t * prediction, x + (1 - t) * prediction
    return prediction, (x - (1 - t) * prediction) / t


def euler_mean(x: Tensor, prediction: Tensor, t: Tensor, t_next: Tensor, kind: Prediction) -> Tensor:
    """One Euler step of the flow's ODE, (1 - t') a^ + t' e^, [B, C, D]."""
    if kind == "velocity":
        return x + (t_next - t) * prediction
    ratio = t_next / t
    return ratio * x + (1 - ratio) * prediction


def native_mean(first: Tensor, prediction: Tensor, t_next: Tensor) -> Tensor:
    """One step of XVLA's own sampler, t' e_first + (1 - t') a^, [B, C, D].

    It re-mixes the chain's first noise with each new action, so it is not Markov in x, but exact given the
    stored first noise. Written as in `XVLAModel.generate_actions`, so that both agree bit for bit.

    Args:
        first: the chain's first state, pure noise, [B, C, D].
        prediction: predicted action, [B, C, D].
        t_next: flow time after the step, broadcastable.
    """
    return first * t_next + prediction * (1 - t_next)


def flow_sde_scale(t: Tensor, t_next: Tensor, noise_level: float | Tensor) -> Tensor:
    """Diffusion s = eta sqrt(t / (1 - t)); at t = 1 the denominator uses the next grid time.

    Args:
        t: flow time, broadcastable to x.
        t_next: flow time after the step.
        noise_level: eta, one number or one per dimension.
    """
    below_one = torch.where(t < 1, 1 - t, 1 - t_next)
    return noise_level * torch.sqrt(t / below_one)


def flow_sde(
    x: Tensor, prediction: Tensor, t: Tensor, t_next: Tensor, kind: Prediction, noise_level: float | Tensor
) -> tuple[Tensor, Tensor]:
    """One Euler-Maruyama step of the SDE with the ODE's marginals.

    mean = (1 - t') a^ + (t' - s^2 d / (2 t)) e^,  std = s sqrt(d),  d = t - t'. The diffusion may differ per
    dimension without losing the marginals.

    Args:
        x: noisy action at t, [B, C, D].
        prediction: what the network returned, [B, C, D].
        t: flow time in (0, 1], broadcastable to x.
        t_next: flow time after the step.
        kind: what the prediction is.
        noise_level: eta, one number or one per dimension.

    Returns:
        Mean [B, C, D] and std (broadcastable to it).
    """
    d = t - t_next
    scale = flow_sde_scale(t, t_next, noise_level)
    drift = scale**2 * d / (2 * t)
    if kind == "velocity":
        mean = (1 - drift) * x - (d + drift * (1 - t)) * prediction
    else:
        mean = ((t_next - drift) / t) * x + (1 - t_next / t + drift * (1 - t) / t) * prediction
    return mean, scale * torch.sqrt(d)


def bounded_std(raw: Tensor, lowest: float | Tensor, highest: float | Tensor) -> Tensor:
    """Flow-Noise's std: tanh keeps the log-variance between the bounds; raw 0 gives their geometric mean.

    Args:
        raw: unbounded network output.
        lowest: smallest std, > 0.
        highest: largest std.
    """
    low, high = (
        torch.log(torch.as_tensor(bound, dtype=raw.dtype, device=raw.device)) for bound in (lowest, highest)
    )
    return torch.exp(low + (high - low) * (torch.tanh(raw) + 1) / 2)
