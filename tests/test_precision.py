"""Which devices compute in bfloat16."""

import pytest
import torch

from pirl import precision


@pytest.fixture
def cpu(monkeypatch):
    """Gives the CPU other instructions."""

    def able_to(**capabilities: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        precision.has_bfloat16.cache_clear()

    yield able_to
    precision.has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"bf16": True}, True),
        ({}, False),
    ],
)
def test_a_cpu_has_bfloat16_by_its_instructions(cpu, capabilities, able):
    cpu(**capabilities)
    assert precision.has_bfloat16("cpu") is able


@pytest.mark.parametrize(("wanted", "able"), [(True, True), (True, False), (False, True)])
def test_arithmetic_is_in_bfloat16_where_wanted_and_there(cpu, wanted, able):
    cpu(avx512_bf16=able)
    with precision.autocast(torch.device("cpu"), wanted):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if wanted and able else torch.float32)


def test_torch_names_this_cpus_instructions():
    assert torch.cpu.get_capabilities()["architecture"]
