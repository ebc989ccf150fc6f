"""Sharded parameters: each of several processes keeps an equal part of a policy's blocks (PyTorch's FSDP2).

A block's parameters are put together for its forward and its backward pass only; gradients are summed and cut
as they arise. Whatever reads a sharded parameter whole is collective: all processes do it, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(blocks: Iterable[nn.Module], device: torch.device) -> None:
    """Keep this process's part of each block; the parameters are replaced, so optimizers are made afterwards.

    Args:
        blocks: modules that are called as such and hand on what they compute by their result alone.
        device: where the parameters are.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
        assert isinstance(block, FSDPModule)
        # Sums, as of the parameters that every process holds whole.
        block.set_gradient_divide_factor(1.0)
        block.set_force_sum_reduction_for_comms(True)


def is_sharded(tensor: Any) -> bool:
    """Whether this process keeps only a part of it."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together in the leading process's main memory (collective); others as they are.

    In the other processes the result is empty.
    """
    if not isinstance(tensor, DTensor):
        return tensor
    full = tensor.full_tensor()
    return full.cpu() if dist.get_rank() == 0 else torch.empty(0)


def whole_state(module: nn.Module) -> dict[str, Tensor] | None:
    """The state dict of a module, put together (collective); None when none of it is sharded."""
    state = module.state_dict()
    if not any(is_sharded(tensor) for tensor in state.values()):
        return None
    return {name: whole(tensor.detach()) for name, tensor in state.items()}


def clip_gradients(
    parameters: list[nn.Parameter], max_norm: float, add_up: Callable[[Tensor], Tensor]
) -> Tensor:
    """Scale gradients down to a norm over all of them, and over all processes.

    Args:
        parameters: sharded or not.
        max_norm: the largest norm that stays.
        add_up: sums a scalar over all processes.

    Returns:
        The norm before.
    """
    kinds = [[p for p in parameters if is_sharded(p) is sharded] for sharded in (False, True)]
    replicated, parts = ([p.grad for p in kind if p.grad is not None] for kind in kinds)
    norm = nn.utils.get_total_norm(replicated)
    if kinds[1]:
        squares = nn.utils.get_total_norm([grad.to_local() for grad in parts]).square()  # type: ignore[attr-defined]
        norm = torch.sqrt(norm.to(squares.device).square() + add_up(squares))
    for kind in kinds:
        nn.utils.clip_grads_with_norm_(kind, max_norm, norm)
    return norm


class AdamW(torch.optim.AdamW):
    """AdamW on sharded parameters beside others; what it saves and loads is whole.

    `state_dict` is collective; only the leading process's is complete.
    """

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; a fused call takes tensors of one kind only."""
        groups = self.param_groups
        try:
            for sharded in (False, True):
                self.param_groups = [
                    group | {"params": [p for p in group["params"] if is_sharded(p) is sharded]}
                    for group in groups
                ]
                if any(group["params"] for group in self.param_groups):
                    super().step(closure)
        finally:
            self.param_groups = groups

    def state_dict(self) -> dict[str, Any]:
        """As the optimizer of one process has it."""
        saved = super().state_dict()
        return saved | {"state": {i: _map(state, whole) for i, state in saved["state"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Undo `state_dict`, in every process alike; each keeps its part."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        parts = {i: _map(state, _cutter(parameters[i])) for i, state in state_dict["state"].items()}
        super().load_state_dict(state_dict | {"state": parts})


def _cutter(parameter: nn.Parameter) -> Callable[[Tensor], Tensor]:
    """Cuts what belongs to every entry of a parameter as the parameter is cut."""

    def cut(tensor: Tensor) -> Tensor:
        if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
            return tensor
        moved = tensor.to(parameter.device)
        return distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)

    return cut


def _map(state: dict[str, Any], function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    return {key: function(value) if isinstance(value, Tensor) else value for key, value in state.items()}
