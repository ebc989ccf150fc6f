"""What `python -m pirl.stock` changes about stock commands."""

import accelerate
import pytest
from accelerate.state import AcceleratorState

from pirl.stock import train_in


@pytest.fixture
def fresh_accelerate(monkeypatch):
    """Accelerate keeps one state per process."""
    monkeypatch.setattr(accelerate, "Accelerator", accelerate.Accelerator)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_precision_asked_for_wins_over_that_of_the_weights(fresh_accelerate):
    train_in("bf16")
    accelerator = accelerate.Accelerator(mixed_precision="no", cpu=True)
    assert accelerator.mixed_precision == "bf16"
