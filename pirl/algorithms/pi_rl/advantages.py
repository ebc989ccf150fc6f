"""Returns and advantages over decisions; pure functions.

Arrays hold the decisions of complete episodes one after another, [N].
"""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    final_values: Tensor,
    done: Tensor,
    episode_end: Tensor,
    discounts: Tensor,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """GAE over decisions (Schulman et al. 2016), with a bootstrap at time-outs.

    Args:
        rewards: summed over the chunk, [N].
        values: V(s), [N].
        final_values: V(s') where an episode timed out, anything elsewhere, [N].
        done: the episode succeeded with this decision, so nothing follows, bool [N].
        episode_end: last decision of its episode, by success or time-out, bool [N].
        discounts: gamma, or gamma^n for n executed steps, [N].
        gae_lambda: lambda in [0, 1].

    Returns:
        Advantages and returns (advantage + value), [N] each.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros((), dtype=rewards.dtype, device=rewards.device)
    for n in reversed(range(len(rewards))):
        if episode_end[n]:
            following = torch.zeros_like(following)
            next_value = torch.zeros_like(following) if done[n] else final_values[n]
        else:
            next_value = values[n + 1]
        delta = rewards[n] + discounts[n] * next_value - values[n]
        following = delta + discounts[n] * gae_lambda * following
        advantages[n] = following
    return advantages, advantages + values


def group_advantages(episode_returns: Tensor, groups: Tensor, eps: float = 1e-6) -> Tensor:
    """GRPO: each episode's return against the others from the same initial state.

    Args:
        episode_returns: [E].
        groups: group of each episode, int64 [E]. Groups of one, or all equal, give 0.

    Returns:
        (return - mean) / (std + eps) within the group, [E].
    """
    advantages = torch.zeros_like(episode_returns)
    for group in groups.unique():
        members = groups == group
        if int(members.sum()) > 1:
            scores = episode_returns[members]
            advantages[members] = (scores - scores.mean()) / (scores.std() + eps)
    return advantages


def normalise(advantages: Tensor, std_floor: float = 0.0, eps: float = 1e-5) -> Tensor:
    """Centre and scale over the whole update batch, dividing by no less than `std_floor`."""
    if len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std().clamp_min(std_floor) + eps)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(return - value) / Var(return): 1 perfect, 0 like their mean, NaN when returns do not vary."""
    variance = returns.var(unbiased=False)
    if len(returns) < 2 or variance < 1e-12:
        return float("nan")
    return float(1 - (returns - values).var(unbiased=False) / variance)
