"""What the critic goes on learning from: its inputs and the returns of the latest updates."""

from __future__ import annotations

import torch
from torch import Tensor


class CriticMemory:
    """Decisions of the latest updates, each with the discounted return that followed.

    A policy changes little between updates, and so does the value of a scene; one update's episodes alone are
    too few to tell what decided them. Scene states and approaches are small enough to keep.
    """

    def __init__(self, updates: int, input_dim: int, device: torch.device) -> None:
        """Begin empty.

        Args:
            updates: how many are kept; 0 keeps nothing.
            input_dim: width of what the critic sees of a decision.
            device: where they are kept.
        """
        self._updates = updates
        self.inputs = torch.zeros(0, input_dim, device=device)
        self.returns = torch.zeros(0, device=device)
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self.returns)

    def add(self, inputs: Tensor, returns: Tensor) -> None:
        """Take in one update's decisions [N, I] and returns [N]; the oldest update's make room."""
        sizes = [*self._sizes, len(returns)]
        self._sizes = sizes[max(0, len(sizes) - self._updates) :]
        oldest = sum(sizes) - sum(self._sizes)
        self.inputs = torch.cat([self.inputs, inputs])[oldest:]
        self.returns = torch.cat([self.returns, returns])[oldest:]

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept."""
        return {"inputs": self.inputs, "returns": self.returns, "sizes": torch.tensor(self._sizes)}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Undo `state_dict`."""
        device = self.returns.device
        self.inputs, self.returns = (state_dict[name].to(device).clone() for name in ("inputs", "returns"))
        self._sizes = [int(size) for size in state_dict["sizes"]]
