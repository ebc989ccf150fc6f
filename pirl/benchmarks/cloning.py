"""What cloning on a CPU spends on reading frames and on fetching memory, in results/bench/cloning.json.

    python -m pirl.benchmarks.cloning [--repetitions 3] [--output FILE]

Reading: one frame with its chunk of actions, by LeRobot's own reader and by column, taking turns. A step:
forward, backward and AdamW of the default experiment's XVLA on random frames, without the settings of
`pirl.allocation` and with them, each in a process of its own, taking turns. Both as medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets import LeRobotDataset, lerobot_dataset
from rich.console import Console
from rich.table import Table

from pirl.allocation import KEEP_BUFFERS
from pirl.benchmarks.update import make_policy
from pirl.demonstrations.datasets import write_dataset
from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.reading import ColumnReader
from pirl.envs.starts import Start
from pirl.files import write_json_atomically

CHUNK, PIXELS, FRAMES, BATCH, STEPS = 8, 64, 200, 64, 8


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=3, help="turns of each side")
    parser.add_argument("--output", type=Path, default=Path("results/bench/cloning.json"))
    parser.add_argument("--step-alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step_alone:
        print(json.dumps(step_seconds()))
        return
    figures = {
        "read_ms": {name: 1e3 * value for name, value in reading(arguments.repetitions).items()},
        "step_ms": {name: 1e3 * value for name, value in stepping(arguments.repetitions).items()},
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomically(arguments.output, figures)
    table = Table("", "stock, ms", "here, ms", "stock / here")
    for name, sides in figures.items():
        stock, here = sides["stock"], sides["here"]
        table.add_row(name.removesuffix("_ms"), f"{stock:.1f}", f"{here:.1f}", f"{stock / here:.2f}")
    Console().print(table)
    Console().print(f"written to {arguments.output}")


def reading(repetitions: int) -> dict[str, float]:
    """Seconds per frame, by reader."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "random"
        write_dataset([random_episode(seed) for seed in range(4)], root, "libero", {})
        datasets = {}
        for name, reader in {"stock": lerobot_dataset.DatasetReader, "here": ColumnReader}.items():
            lerobot_dataset.DatasetReader = reader  # type: ignore[misc]
            steps = {"action": [step / 20 for step in range(CHUNK)]}
            datasets[name] = LeRobotDataset(root.name, root=root, delta_timestamps=steps)
        return taking_turns({name: lambda d=d: read_seconds(d) for name, d in datasets.items()}, repetitions)


def read_seconds(dataset: LeRobotDataset) -> float:
    """Per frame, in an order without rule."""
    order = np.random.default_rng(0).permutation(len(dataset))[:FRAMES]
    began = time.perf_counter()
    for index in order:
        dataset[int(index)]
    return (time.perf_counter() - began) / len(order)


def random_episode(seed: int) -> Episode:
    """Pictures of noise, which no encoding can shrink."""
    rng = np.random.default_rng(seed)
    shape = (FRAMES // 4, PIXELS, PIXELS, 3)
    images = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in ("image", "image2")}
    states, actions = rng.normal(size=(len(images["image"]), 8)), rng.uniform(-1, 1, (FRAMES // 4, 7))
    start = Start("sampled", 0, seed)
    return Episode(
        "libero_object", 0, "wait", start, images, states.astype(np.float32), actions.astype(np.float32), True
    )


def stepping(repetitions: int) -> dict[str, float]:
    """Seconds per training step, by the allocator's settings."""

    def alone(settings: dict[str, str]) -> float:
        command = [sys.executable, "-m", "pirl.benchmarks.cloning", "--step-alone"]
        environment = {name: value for name, value in os.environ.items() if name not in KEEP_BUFFERS}
        done = subprocess.run(command, env=environment | settings, check=True, capture_output=True)
        return float(json.loads(done.stdout.splitlines()[-1]))

    return taking_turns({"stock": lambda: alone({}), "here": lambda: alone(KEEP_BUFFERS)}, repetitions)


def step_seconds() -> float:
    """Median of some training steps in this process."""
    policy = make_policy("tiny_xvla").train()
    optimizer = torch.optim.AdamW(policy.parameters())
    batch = {
        "observation.images.image": torch.rand(BATCH, 3, PIXELS, PIXELS),
        "observation.images.image2": torch.rand(BATCH, 3, PIXELS, PIXELS),
        "observation.state": torch.randn(BATCH, 20),
        "observation.language.tokens": torch.randint(3, 200, (BATCH, 16)),
        "action": torch.randn(BATCH, CHUNK, 20),
        "domain_id": torch.zeros(BATCH, dtype=torch.long),
    }
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        policy.forward(batch)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def taking_turns(sides: dict, repetitions: int) -> dict[str, float]:
    """Median of each side's seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, measure in sides.items():
            seconds[name].append(measure())
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
