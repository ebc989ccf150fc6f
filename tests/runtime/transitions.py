"""Small transitions in LeRobot's schema, for tests of the transport and the intake."""

from __future__ import annotations

from typing import Any

import torch


def make_transition(**changes: Any) -> dict[str, Any]:
    """A complete transition; keyword arguments replace its fields."""
    transition = {
        "state": {"observation.state": torch.zeros(1, 3)},
        "action": torch.zeros(1, 2),
        "reward": 0.0,
        "next_state": {"observation.state": torch.zeros(1, 3)},
        "done": False,
        "truncated": False,
        "complementary_info": {"episode_id": torch.zeros(1)},
    }
    return transition | changes
