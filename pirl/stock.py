"""Run a stock LeRobot command with LIBERO's files configured, so that it asks nothing and fetches nothing.

Data sets are read as LeRobot does, only without decoding pictures in vain (`pirl.demonstrations.reading`);
ACCELERATE_MIXED_PRECISION counts (bf16 where the device has it), PIRL_DROPOUT is the probability of dropout
layers where it is given, and `--optimizer.type=muon` is known.

`python -m pirl.stock lerobot-eval --policy.path=results/smoke/sac/policy --env.type=libero ...`
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from typing import Any

import pirl.muon  # noqa: F401  (known to LeRobot by its name from now on)
from pirl.demonstrations.reading import read_by_column
from pirl.envs.assets import configure_libero
from pirl.precision import has_bfloat16


def main() -> None:
    """Configure LIBERO, then hand over to the command named first."""
    commands = {entry.name: entry for entry in importlib.metadata.entry_points(group="console_scripts")}
    if len(sys.argv) < 2 or sys.argv[1] not in commands or not sys.argv[1].startswith("lerobot-"):
        known = ", ".join(sorted(name for name in commands if name.startswith("lerobot-")))
        sys.exit(f"usage: python -m pirl.stock COMMAND [FLAGS]; COMMAND is one of {known}")
    configure_libero()
    read_by_column()
    if precision := os.environ.get("ACCELERATE_MIXED_PRECISION"):
        train_in(precision)
    if dropout := os.environ.get("PIRL_DROPOUT"):
        train_dropping(float(dropout))
    sys.argv = sys.argv[1:]
    commands[sys.argv[0]].load()()


def train_in(precision: str) -> None:
    """Let lerobot-train compute in `precision` with the weights as they are; bf16 only where that is no loss.

    Stock, it asks accelerate for the precision of the weights, whatever the environment says.
    """
    import accelerate  # seconds, of use to training alone
    import torch

    stock = accelerate.Accelerator

    class Accelerator(stock):  # type: ignore[misc, valid-type]
        def __init__(self, **settings: Any) -> None:
            device = "cpu" if settings.get("cpu") or not torch.cuda.is_available() else "cuda"
            if precision == "bf16" and not has_bfloat16(device):
                logging.info("mixed_precision: this %s computes in float32, it has no bfloat16", device)
                settings["mixed_precision"] = "no"
            else:
                settings["mixed_precision"] = precision
            super().__init__(**settings)

    accelerate.Accelerator = Accelerator  # type: ignore[misc]


def train_dropping(probability: float) -> None:
    """Let lerobot-train's policies have this probability in their dropout layers; XVLA's is no setting."""
    from lerobot.scripts import lerobot_train

    stock = lerobot_train.make_policy
    lerobot_train.make_policy = lambda *arguments, **settings: set_dropout(
        stock(*arguments, **settings), probability
    )


def set_dropout(policy: Any, probability: float) -> Any:
    """The policy, its dropout layers with this probability."""
    import torch

    for module in policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
    return policy


if __name__ == "__main__":
    main()
