"""Reading a module's output without changing the module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def captured_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the module returns inside the block; nothing stays behind on it."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
