"""What `python -m pirl.stock` changes about stock commands."""

import accelerate
import pytest
import torch
from accelerate.state import AcceleratorState

from pirl.stock import train_dropping, train_in


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


def test_dropout_is_as_asked_for(monkeypatch):
    from lerobot.scripts import lerobot_train

    made = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Sequential(torch.nn.Dropout(0.1)))
    monkeypatch.setattr(lerobot_train, "make_policy", lambda config, ds_meta: made)
    train_dropping(0.0)
    policy = lerobot_train.make_policy("config", ds_meta=None)
    assert policy is made
    assert policy[1][0].p == 0.0
