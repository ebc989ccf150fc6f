"""Weights in a pickle: refused, since reading one may run code; converted when asked for.

`python -m pirl.policies.pickled FOLDER`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

WEIGHTS = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class PickledWeights(ValueError):
    """A policy's weights lie in a pickle; the message names file and remedy."""


def refuse_pickles(folder: Path) -> None:
    """Raise for a local policy folder whose only weights are a pickle; other paths pass.

    Raises:
        PickledWeights: naming the file and the command that converts it.
    """
    found = _pickle_in(Path(folder))
    if found is not None and not (Path(folder) / WEIGHTS).is_file():
        raise PickledWeights(
            f"{found} is a pickle, which can run code when it is read; if you trust it, convert it once: "
            f"python -m pirl.policies.pickled {folder}"
        )


def convert(folder: Path) -> Path:
    """Write a folder's pickled weights as `model.safetensors` beside them; only tensors are unpickled.

    Raises:
        PickledWeights: when there is no such file, or it holds more than tensors.
    """
    source = _pickle_in(Path(folder))
    if source is None:
        raise PickledWeights(f"{folder}: no file with weights in a pickle ({', '.join(PICKLES)})")
    try:
        weights = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PickledWeights(f"{source}: holds more than tensors, and is not read: {error}") from error
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise PickledWeights(f"{source}: is no dict of tensors")
    partial = Path(folder) / f".{WEIGHTS}.partial"
    save_file({name: value.clone().contiguous() for name, value in weights.items()}, partial)
    return partial.replace(Path(folder) / WEIGHTS)


def _pickle_in(folder: Path) -> Path | None:
    return next((path for path in sorted(folder.glob("*")) if path.suffix in PICKLES), None)


def main(args: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pirl.policies.pickled", description=__doc__)
    parser.add_argument("folder", type=Path)
    try:
        print(convert(parser.parse_args(args).folder))
    except PickledWeights as error:
        sys.exit(f"pirl.policies.pickled: {error}")


if __name__ == "__main__":
    main()
