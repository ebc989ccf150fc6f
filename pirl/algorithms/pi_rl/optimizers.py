"""Parameter groups, optimizers and the learning-rate schedule of PI-RL."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer

from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.sharding import AdamW
from pirl.muon import Muon
from pirl.policies.flow_policy import FlowPolicy

MOMENTS = (0.9, 0.95)


class Group(NamedTuple):
    """Parameters that share a full learning rate and a weight decay."""

    parameters: list[nn.Parameter]
    rate: float
    weight_decay: float


def actor_groups(flow: FlowPolicy, noise: nn.Module | None, config: PiRLConfig) -> list[Group]:
    """The policy's trained parameters and the noise network's: encoder or not, decayed or not.

    Embedding tables hold XVLA's weights of *every* domain: decay would erode those not trained here.

    Raises:
        ValueError: when nothing of the policy trains.
    """
    encoder = {id(p) for module in flow.encoder() for p in module.parameters()}
    tables = {
        id(p)
        for module in flow.policy.modules()
        if isinstance(module, nn.Embedding)
        for p in module.parameters()
    }
    members: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for _, parameter in flow.trainable_parameters():
        decayed = parameter.ndim > 1 and id(parameter) not in tables
        members.setdefault((id(parameter) in encoder, decayed), []).append(parameter)
    if not members:
        raise ValueError(
            "algorithm.trainable: every parameter of the policy is frozen; unfreeze the denoiser"
        )
    if noise is not None:
        members.setdefault((False, False), []).extend(noise.parameters())
    return [
        Group(
            parameters,
            config.actor_lr * (config.encoder_lr_scale if in_encoder else 1.0),
            config.weight_decay if decayed else 0.0,
        )
        for (in_encoder, decayed), parameters in sorted(members.items(), key=lambda item: item[0])
    ]


def make_optimizer(groups: list[Group], kind: str = "adamw") -> Optimizer:
    """AdamW with the reference's moments, fused, because it walks through memory once; or Muon."""
    settings = [{"params": g.parameters, "lr": g.rate, "weight_decay": g.weight_decay} for g in groups]
    if kind == "adamw":
        return AdamW(settings, betas=MOMENTS, eps=1e-8, fused=True)
    return Muon(settings, lr=0.0, betas=MOMENTS)


def schedule_factor(config: PiRLConfig, update: int) -> float:
    """Factor on the learning rates of one update; a function of its number, so it needs no saved state."""
    if config.lr_schedule == "constant" or config.lr_decay_updates is None:
        return 1.0
    return annealed(update / config.lr_decay_updates, config.lr_schedule, config.lr_final_fraction)


def annealed(progress: float, schedule: str, final: float) -> float:
    """Factor that falls from 1 to `final` as progress goes from 0 to 1, `linear` or as a half `cosine`."""
    progress = min(1.0, progress)
    falling = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return final + (1 - final) * falling
