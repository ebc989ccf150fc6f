"""Muon: momentum whose singular values are brought near one, for a network's matrices; for the rest AdamW.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), with step sizes that match AdamW's after Liu
et al. 2025 (arXiv 2502.16982). `torch.optim.Muon` takes linear layers alone, one at a time; here the filters
of convolutions are matrices too, and those of one shape are orthogonalised together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lerobot.optim.optimizers import OptimizerConfig
from torch import Tensor

from pirl.precision import has_bfloat16

# Shorter sides than this are biases, norms, depthwise filters and tables of one row.
SHORTEST_SIDE = 16
NEWTON_SCHULZ_STEPS = 5
# Coefficients of Jordan et al.'s quintic iteration: fast near zero, within [0.7, 1.2] in the end.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.AdamW):
    """Muon for parameters that are matrices when their rows are flattened, AdamW for the others.

    Gradients of matrices are consumed: after `step` they are None.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        adamw_lr_scale: float = 0.2,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Set up.

        Args:
            params: parameters or groups of them, as every optimizer takes them.
            lr: rate for matrices; an update has the root mean square 0.2 `lr`, as AdamW's often has.
            adamw_lr_scale: rate of the other parameters, as a share of `lr`.
            momentum: of matrices, Nesterov's.
            betas: of the other parameters.
            eps: of the other parameters.
            weight_decay: decoupled, of all parameters.
        """
        groups = []
        for group in _groups(params):
            rate = group.get("lr", lr)
            for matrices in (True, False):
                members = [p for p in group["params"] if is_matrix(p) is matrices]
                if members:
                    scale = 1.0 if matrices else adamw_lr_scale
                    groups.append(group | {"params": members, "lr": rate * scale, "matrices": matrices})
        super().__init__(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for group in self.param_groups:
            group["momentum"] = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure` computes the loss anew, as for every optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["matrices"]:
                self._step_matrices(group)
        super().step()  # skips what has no gradient
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        updates: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(parameter)}
            state["step"] += 1  # AdamW looks for it in every state it loads
            momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            update = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
            updates[update.shape].append((parameter, update))
            parameter.grad = None
        for shape, members in updates.items():
            directions = orthogonalised(torch.stack([update for _, update in members]))
            size = 0.2 * max(shape) ** 0.5 * group["lr"]
            for (parameter, _), direction in zip(members, directions, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction.view_as(parameter), alpha=-size)


@OptimizerConfig.register_subclass("muon")
@dataclass
class MuonConfig(OptimizerConfig):
    """`--optimizer.type=muon` of a lerobot-train in whose process this module was imported."""

    lr: float = 5e-3
    adamw_lr_scale: float = 0.2
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_clip_norm: float = 10.0

    def build(self, params: Any) -> torch.optim.Optimizer:
        """The optimizer of a policy's parameters, or of groups or a dict of them."""
        if isinstance(params, dict):
            params = params.values()
        settings = asdict(self)
        del settings["grad_clip_norm"]  # lerobot-train clips
        return Muon(params, **settings)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon takes it: both sides of it, rows flattened, are long enough to have directions."""
    return parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= SHORTEST_SIDE


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices [N, A, B] with the same singular vectors, all singular values near one, in their own dtype.

    The iteration forgives rounding, so it is done in bfloat16 where the device has that.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(
        torch.bfloat16 if has_bfloat16(matrices.device.type) else torch.float32
    )
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def _groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    members = list(params)
    if members and isinstance(members[0], dict):
        return [group | {"params": list(group["params"])} for group in members]
    return [{"params": members}]
