"""Which devices compute in bfloat16 themselves; where it is emulated, it takes longer than float32."""

from __future__ import annotations

from functools import cache

import torch

# Instructions that multiply bfloat16 numbers: x86 with AVX-512 or AMX, ARM.
CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


@cache
def has_bfloat16(device_type: str) -> bool:
    """Whether a device of this type (`cpu`, `cuda`, ...) has arithmetic in bfloat16."""
    if device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in CPU_INSTRUCTIONS)
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return True


def autocast(device: torch.device, wanted: bool) -> torch.autocast:
    """Arithmetic in bfloat16 where it is wanted and the device has it, else in the tensors' own precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device.type))
