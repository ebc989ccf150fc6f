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


def precision_of(wanted: str, weights: str = "no") -> str:
    train_in(wanted)
    return accelerate.Accelerator(mixed_precision=weights, cpu=True).mixed_precision


def test_the_precision_asked_for_wins_over_that_of_the_weights(fresh_accelerate, monkeypatch):
    monkeypatch.setattr("pirl.stock.has_bfloat16", lambda device_type: True)
    assert precision_of("bf16") == "bf16"


def test_bfloat16_is_left_alone_where_it_is_emulated(fresh_accelerate, monkeypatch):
    monkeypatch.setattr("pirl.stock.has_bfloat16", lambda device_type: False)
    assert precision_of("bf16") == "no"
