"""Chains of denoising states: sampling them, and the log-prob of stored ones.

A chain is x_{t_0}, ..., x_{t_K}; its last state is the action. Which of its steps are stochastic is decided
per decision (PI-RL's hybrid draws one), the others follow the deterministic mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from pirl.flow.correlation import correlate
from pirl.flow.density import gaussian_entropy, gaussian_log_prob

StochasticSteps = Literal["one", "last", "all"]
Reduction = Literal["sum", "mean"]
ALL_STEPS = -1


class Output(NamedTuple):
    """What the denoiser returns for one step."""

    prediction: Tensor  # action or velocity, float32 [B, C, D]
    tokens: Tensor  # features of the action tokens, [B, C, F]


Denoise = Callable[[Tensor, Tensor], Output]
"""(x [B, C, D], t [B]) -> Output; gradients flow through it unless the caller forbids them."""


class Kernel(Protocol):
    """One denoising step as a Gaussian."""

    def __call__(
        self, x: Tensor, first: Tensor, output: Output, t: Tensor, t_next: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean [B, C, D] and std (broadcastable) of x', given x at t and the chain's first state."""
        ...


@dataclass(frozen=True)
class Chain:
    """A sampled chain."""

    states: Tensor  # [B, K + 1, C, D]
    log_prob: Tensor  # of its stochastic steps, per step of the chunk, summed over counted dims, [B, C]
    last: Output  # of the last denoiser call


def draw_stochastic_steps(
    which: StochasticSteps, batch: int, steps: int, device: torch.device | None = None
) -> Tensor:
    """Which step of each decision is stochastic, [B]: drawn per decision, not per batch (less variance)."""
    if which == "one":
        return torch.randint(steps, (batch,), device=device)
    return torch.full((batch,), steps - 1 if which == "last" else ALL_STEPS, device=device)


def sample_chain(
    denoise: Denoise,
    noise: Tensor,
    times: Tensor,
    deterministic: Kernel,
    stochastic: Kernel,
    stochastic_steps: Tensor,
    counted: Tensor,
    reduction: Reduction = "sum",
    correlation: float = 0.0,
) -> Chain:
    """Run the sampler from noise to action.

    Args:
        denoise: the policy's denoiser for this batch's observations.
        noise: first state, [B, C, D].
        times: grid, [K + 1], 1 -> 0.
        deterministic: kernel whose mean the other steps follow.
        stochastic: kernel of the stochastic steps.
        stochastic_steps: [B], from `draw_stochastic_steps`.
        counted: True where noise is put in, [C, D]: noise elsewhere would carry no credit.
        reduction: of the log-prob over stochastic steps, as in `chain_log_prob`.
        correlation: of the noise between neighbouring steps of the chunk, in [0, 1).

    Returns:
        The chain; its states are never clamped or post-processed.
    """
    x, states = noise, [noise]
    log_prob = torch.zeros(noise.shape[:2], dtype=noise.dtype, device=noise.device)
    output: Output | None = None
    for k in range(len(times) - 1):
        t, t_next = _times(times, torch.full_like(stochastic_steps, k))
        output = denoise(x, t.flatten())
        mean, _ = deterministic(x, noise, output, t, t_next)
        here = (stochastic_steps == k) | (stochastic_steps == ALL_STEPS)
        if bool(here.any()):
            noisy_mean, std = stochastic(x, noise, output, t, t_next)
            std = _counted_std(std, noisy_mean, here[:, None, None] & counted)
            mean = torch.where(std > 0, noisy_mean + std * correlate(torch.randn_like(x), correlation), mean)
            log_prob = log_prob + gaussian_log_prob(mean, noisy_mean, std, correlation).sum(-1)
        x = mean
        states.append(x)
    assert output is not None
    if reduction == "mean":
        log_prob = torch.where(
            (stochastic_steps == ALL_STEPS)[:, None], log_prob / (len(times) - 1), log_prob
        )
    return Chain(torch.stack(states, dim=1), log_prob, output)


class ChainLogProb(NamedTuple):
    """Log-prob of stored chains."""

    log_prob: Tensor  # per step of the chunk, summed over counted dims, [B, C]
    entropy: Tensor  # of the stochastic kernels, same reduction, [B, C]
    last: Output | None  # of the denoiser call at the last grid time, when there was one


def chain_log_prob(
    denoise: Denoise,
    states: Tensor,
    times: Tensor,
    stochastic: Kernel,
    stochastic_steps: Tensor,
    counted: Tensor,
    reduction: Reduction = "sum",
    correlation: float = 0.0,
) -> ChainLogProb:
    """Recompute the log-prob of stored chains under the present denoiser.

    One stochastic step per decision costs one denoiser call, whichever steps a batch holds; all cost K. The
    density of the first noise is constant and cancels in a ratio, so it is left out.

    Args:
        denoise: the policy's denoiser for this batch's observations.
        states: stored chains, [B, K + 1, C, D] float32.
        times: grid, [K + 1].
        stochastic: kernel of the stochastic steps.
        stochastic_steps: [B]; ALL_STEPS for every decision or for none.
        counted: [C, D] bool, entries that carry credit.
        reduction: `sum` over stochastic steps is the exact joint; `mean` tempers the ratio by 1/K.
        correlation: of the noise, as it was sampled.

    Raises:
        ValueError: when decisions with one and with all stochastic steps are mixed.
    """
    steps = len(times) - 1
    every = stochastic_steps == ALL_STEPS
    if bool(every.any()) and not bool(every.all()):
        raise ValueError("chain log-prob: a batch mixes decisions with one and with all steps stochastic")
    rows = torch.arange(len(states), device=states.device)
    indices = (
        [torch.full_like(stochastic_steps, k) for k in range(steps)]
        if bool(every.any())
        else [stochastic_steps]
    )
    log_prob = entropy = torch.zeros(())
    last = None
    for k in indices:
        mean, std, output = chain_step(denoise, states, times, stochastic, k, counted)
        log_prob = log_prob + gaussian_log_prob(states[rows, k + 1], mean, std, correlation).sum(-1)
        entropy = entropy + gaussian_entropy(std, correlation).sum(-1)
        last = output if bool((k == steps - 1).all()) else None
    if reduction == "mean":
        log_prob, entropy = log_prob / len(indices), entropy / len(indices)
    return ChainLogProb(log_prob, entropy, last)


class Step(NamedTuple):
    """One stochastic step of stored chains as a Gaussian."""

    mean: Tensor  # [B, C, D]
    std: Tensor  # 0 where nothing is counted, [B, C, D]
    output: Output  # of its denoiser call


def chain_step(
    denoise: Denoise, states: Tensor, times: Tensor, stochastic: Kernel, k: Tensor, counted: Tensor
) -> Step:
    """Distribution of the state after step k of stored chains, under the present denoiser.

    Args:
        denoise: the policy's denoiser for this batch's observations.
        states: stored chains, [B, K + 1, C, D] float32.
        times: grid, [K + 1].
        stochastic: kernel of the step.
        k: which step, [B].
        counted: [C, D] bool, entries that carry credit.
    """
    t, t_next = _times(times, k)
    x = states[torch.arange(len(states), device=states.device), k]
    output = denoise(x, t.flatten())
    mean, std = stochastic(x, states[:, 0], output, t, t_next)
    return Step(mean, _counted_std(std, mean, counted), output)


def _counted_std(std: Tensor, mean: Tensor, counted: Tensor) -> Tensor:
    """Std [B, C, D], 0 where nothing is counted."""
    return torch.where(counted, std.expand_as(mean), torch.zeros_like(mean))


def _times(times: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Times before and after step k of each decision, [B, 1, 1] each."""
    return times[k][:, None, None], times[k + 1][:, None, None]
