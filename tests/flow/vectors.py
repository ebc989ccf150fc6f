"""Numbers computed by RLinf 0.3.0, the paper's own code, on random tensors in float32."""

from __future__ import annotations

import json
from pathlib import Path

import torch

VECTORS = json.loads((Path(__file__).parent / "reference_vectors.json").read_text())
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


def assert_close(actual: torch.Tensor, expected: list | torch.Tensor, dtype: torch.dtype) -> None:
    """Relative error, against the largest entry, within what the issue of PI-RL's mathematics asks."""
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    error = (actual.double() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)
    assert error <= TOLERANCE[dtype], f"relative error {error:.2e}"
