"""Muon against its definition, and as LeRobot's trainings use it."""

from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from lerobot.optim.optimizers import OptimizerConfig, load_optimizer_state, save_optimizer_state
from torch import nn

from pirl.muon import Muon, MuonConfig, is_matrix, orthogonalised


def make_network() -> nn.Module:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, 24), nn.Linear(24, 2))
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), head)


def loss_of(network: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randn(16, 3, 4, 4, generator=generator)
    return (network(pictures) - pictures.mean((2, 3))[:, :2]).square().mean()


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(network)
        loss.backward()
        optimizer.step()
    return loss_of(network).item()


@given(
    st.integers(1, 3),
    st.integers(4, 24),
    st.integers(4, 24),
    st.floats(1e-6, 1e3),
    st.integers(0, 2**31 - 1),
    st.booleans(),
)
def test_directions_keep_singular_vectors_and_lose_singular_values(
    count, rows, columns, scale, seed, bfloat16
):
    generator = torch.Generator().manual_seed(seed)
    side = min(rows, columns)
    left, _ = torch.linalg.qr(torch.randn(count, rows, side, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(count, columns, side, generator=generator))
    values = torch.linspace(1.0, 0.2, side)
    with patch("pirl.muon.has_bfloat16", return_value=bfloat16):
        directions = orthogonalised(scale * (left * values) @ right.mT)
    kept = left.mT @ directions @ right
    diagonal = kept.diagonal(dim1=1, dim2=2)
    assert ((diagonal > 0.5) & (diagonal < 1.3)).all()
    assert (kept - torch.diag_embed(diagonal)).abs().max() < 0.1


def test_an_update_of_a_matrix_is_as_large_as_adamw_s():
    weight = nn.Parameter(torch.zeros(64, 256))
    weight.grad = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=0.01).step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_what_is_no_matrix_goes_as_with_adamw():
    bias, twin = (nn.Parameter(torch.ones(8)) for _ in range(2))
    optimizers = [Muon([bias], lr=0.01, adamw_lr_scale=0.5), torch.optim.AdamW([twin], 0.005, weight_decay=0)]
    for step in range(5):
        for parameter, optimizer in zip((bias, twin), optimizers, strict=True):
            parameter.grad = torch.linspace(-1, 1, 8) * (step + 1)
            optimizer.step()
    torch.testing.assert_close(bias, twin)


@pytest.mark.parametrize(
    ("shape", "matrix"), [((32, 3, 3, 3), True), ((16, 16), True), ((32, 1, 3, 3), False), ((64,), False)]
)
def test_filters_are_matrices_and_depthwise_ones_are_not(shape, matrix):
    assert is_matrix(torch.zeros(shape)) is matrix


def test_frozen_parameters_stay():
    network = make_network()
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    train(network, Muon(network.parameters(), lr=0.01), 3)
    torch.testing.assert_close(network[0].weight, before)


def test_lerobot_train_finds_it_by_name():
    config = OptimizerConfig.get_choice_class("muon")()
    assert isinstance(config, MuonConfig)
    network = make_network()
    before = loss_of(network).item()
    assert train(network, config.build(network.parameters()), 40) < 0.2 * before


def test_a_training_goes_on_from_lerobot_s_checkpoint_of_it(tmp_path):
    network, other = make_network(), make_network()
    optimizer = MuonConfig(lr=0.01).build(network.parameters())
    train(network, optimizer, 5)
    save_optimizer_state(optimizer, tmp_path)
    other.load_state_dict(network.state_dict())
    resumed = load_optimizer_state(MuonConfig(lr=0.01).build(other.parameters()), tmp_path)
    assert train(network, optimizer, 5) == train(other, resumed, 5)
