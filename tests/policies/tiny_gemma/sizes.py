"""Tiny sizes for LeRobot's pi0 and pi0.5: LeRobot fixes PaliGemma's in code, without configuration keys."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

WIDTH = 16
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 16,
    "projection_dim": WIDTH,
}
BUILDER = "PaliGemmaForConditionalGenerationWithPiGemma"


def tiny(module: ModuleType) -> dict[str, Callable]:
    """Replacements in a `modeling_pi0*` module: its table of Gemma sizes, and what builds PaliGemma.

    Only sizes differ: classes, names of weights and files stay LeRobot's, whose attention wants 8 heads.
    """
    sizes = module.GemmaConfig(width=WIDTH, depth=2, mlp_dim=32, num_heads=8, num_kv_heads=1, head_dim=8)
    build = getattr(module, BUILDER)

    def build_tiny(config: Any) -> Any:
        config.projection_dim = WIDTH
        for name, value in VISION.items():
            setattr(config.vision_config, name, value)
        return build(config)

    return {"get_gemma_config": lambda _variant: sizes, BUILDER: build_tiny}
