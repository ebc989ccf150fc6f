"""Several processes that take part in one update: who computes what, and the sums over all of them.

Every process holds the whole batch and the whole policy, unless its blocks are sharded (`sharding`), computes
its own decisions and adds its part to sums that all receive. With one process nothing is exchanged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn

from pirl.algorithms.sharding import is_sharded


class Pass(NamedTuple):
    """Decisions of one forward pass in this process."""

    rows: Tensor
    share: float  # of the decisions of all processes' passes; 0: made only to keep step with the others


class Processes:
    """This process among `count`; the first one (rank 0) leads. Made without arguments: alone.

    Attributes:
        rank: number of this process.
        count: number of processes.
        in_step: forward passes are collective, because the policy is sharded: all make equally many.
    """

    rank = 0
    count = 1
    in_step = False
    _host: dist.ProcessGroup | None = None

    @classmethod
    def join(cls, *, cpu: bool, timeout_s: float) -> Processes:
        """Meet the processes that `accelerate launch`, `torchrun` or the supervisor started, if any.

        Args:
            cpu: compute on the CPU even where there are GPUs.
            timeout_s: seconds after which waiting for the others ends in an error.
        """
        processes, timeout = cls(), timedelta(seconds=timeout_s)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            state = PartialState(cpu=cpu, timeout=timeout)
            processes.rank, processes.count = state.process_index, state.num_processes
            # Messages and rollouts travel in main memory: waiting for rollouts keeps no GPU busy.
            processes._host = dist.new_group(backend="gloo", timeout=timeout)
        return processes

    def leave(self) -> None:
        """Part from the others at the end of all updates."""
        if self.count > 1:
            PartialState().destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this is the process that decides."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """Those of some decisions that this process computes: every `count`-th of the batch."""
        return rows if self.count == 1 else rows[rows % self.count == self.rank]

    def passes(self, rows: Tensor, size: int, total: int) -> list[Pass]:
        """This process's forward passes over some decisions.

        Args:
            rows: decisions that all processes together compute, [n].
            size: decisions per pass at most.
            total: decisions that there are; what keeps step is an own one of them, if there is any.
        """
        own = self.own(rows)
        passes = [Pass(piece, len(piece) / len(rows)) for piece in own.split(size) if len(piece)]
        if self.in_step:
            longest = int(torch.bincount(rows % self.count, minlength=self.count).max())
            spare = rows.new_tensor([min(self.rank, total - 1)])
            passes += [Pass(spare, 0.0)] * (math.ceil(longest / size) - len(passes))
        return passes

    def tell(self, message: Any) -> Any:
        """What the leading process passes here, in all processes."""
        if self.count == 1:
            return message
        box = [message]
        dist.broadcast_object_list(box, src=0, group=self._host)
        return box[0]

    def share(self, tensors: Any) -> Any:
        """The leading process's nested dicts of tensors in main memory, in all processes."""
        if self.count == 1:
            return tensors
        layout = self.tell(
            _map(tensors, lambda t: torch.empty_like(t, device="meta")) if self.leads else None
        )
        shared = tensors if self.leads else _map(layout, lambda t: torch.empty_like(t, device="cpu"))
        _map(shared, lambda t: dist.broadcast(t, src=0, group=self._host))
        return shared

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the leading process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over all processes; `tensor` may be overwritten."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace gradients by their sums; what no process has a gradient for keeps none.

        Gradients of sharded parameters are sums already.
        """
        parameters = [p for p in parameters if not is_sharded(p)]
        if self.count == 1 or not parameters:
            return
        device = parameters[0].device
        present = self.sum(torch.tensor([float(p.grad is not None) for p in parameters], device=device))
        works = []
        for parameter, holders in zip(parameters, present.tolist(), strict=True):
            if holders:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                works.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in works:
            work.wait()

    def gather(self, thing: Any) -> list[Any]:
        """What each process passes here, in order, in all processes."""
        if self.count == 1:
            return [thing]
        things: list[Any] = [None] * self.count
        dist.all_gather_object(things, thing, group=self._host)
        return things


def _map(tensors: Any, function: Any) -> Any:
    if isinstance(tensors, dict):
        return {key: _map(value, function) for key, value in tensors.items()}
    return function(tensors)
