"""One episode's own stream of torch's random numbers."""

from __future__ import annotations

from types import TracebackType

import torch


class Randomness:
    """While entered, torch draws from this stream; afterwards from its own again, as if nothing had been."""

    def __init__(self, seed: int) -> None:
        """Begin the stream where `torch.manual_seed(seed)` would."""
        devices = ["cpu"] + ([f"cuda:{torch.cuda.current_device()}"] if torch.cuda.is_available() else [])
        self._inside = {device: torch.Generator(device).manual_seed(seed).get_state() for device in devices}
        self._outside: dict[str, torch.Tensor] = {}

    def __enter__(self) -> None:
        self._outside = {device: _get_state(device) for device in self._inside}
        for device, state in self._inside.items():
            _set_state(device, state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = {device: _get_state(device) for device in self._inside}
        for device, state in self._outside.items():
            _set_state(device, state)


def _get_state(device: str) -> torch.Tensor:
    return torch.get_rng_state() if device == "cpu" else torch.cuda.get_rng_state(device)


def _set_state(device: str, state: torch.Tensor) -> None:
    if device == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
