"""What the critic goes on learning from: scene states and returns of the latest updates."""

from __future__ import annotations

import torch
from torch import Tensor


class CriticMemory:
    """Decisions of the latest updates, each with the discounted return that followed.

    A policy changes little between updates, and so does the value of a scene; one update's episodes alone are
    too few to tell what decided them. Scene states are small enough to keep.
    """

    def __init__(self, updates: int, scene_dim: int, device: torch.device) -> None:
        """Begin empty.

        Args:
            updates: how many are kept; 0 keeps nothing.
            scene_dim: width of a scene state.
            device: where they are kept.
        """
        self._updates = updates
        self.scenes = torch.zeros(0, scene_dim, device=device)
        self.returns = torch.zeros(0, device=device)
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self.returns)

    def add(self, scenes: Tensor, returns: Tensor) -> None:
        """Take in one update's decisions [N, S] and returns [N]; the oldest update's make room."""
        sizes = [*self._sizes, len(returns)]
        self._sizes = sizes[max(0, len(sizes) - self._updates) :]
        oldest = sum(sizes) - sum(self._sizes)
        self.scenes = torch.cat([self.scenes, scenes])[oldest:]
        self.returns = torch.cat([self.returns, returns])[oldest:]

    def state_dict(self) -> dict[str, Tensor]:
        """All that is kept."""
        return {"scenes": self.scenes, "returns": self.returns, "sizes": torch.tensor(self._sizes)}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Undo `state_dict`."""
        device = self.returns.device
        self.scenes, self.returns = (state_dict[name].to(device).clone() for name in ("scenes", "returns"))
        self._sizes = [int(size) for size in state_dict["sizes"]]
