"""What cloning on a CPU spends on reading frames, memory and arithmetic, in results/bench/cloning.json.

    python -m pirl.benchmarks.cloning [--repetitions 3] [--output FILE]

Reading: one frame with its chunk of actions, by LeRobot's own reader and by column, taking turns. A step:
forward, backward and AdamW of the default experiment's XVLA on random frames, without the settings of
`pirl.allocation` and with them, then with them in bfloat16 and in float32, without dropout and with it, each
in a process of its own, taking turns. All as medians.
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
from pirl.stock import set_dropout

STOCK, HERE, BFLOAT16, NO_DROPOUT = "stock", "here", "bfloat16", "no dropout"
CHUNK, PIXELS, FRAMES, BATCH, STEPS = 8, 64, 200, 64, 8


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=3, help="turns of each side")
    parser.add_argument("--output", type=Path, default=Path("results/bench/cloning.json"))
    parser.add_argument("--step-alone", choices=[STOCK, HERE, BFLOAT16, NO_DROPOUT], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step_alone:
        print(json.dumps(step_seconds(arguments.step_alone)))
        return
    seconds = {
        "read": reading(arguments.repetitions),
        "step": stepping((STOCK, HERE), arguments.repetitions),
        "step_bfloat16": stepping((BFLOAT16, HERE), arguments.repetitions),
        "step_no_dropout": stepping((NO_DROPOUT, HERE), arguments.repetitions),
    }
    figures = {
        f"{name}_ms": {side: 1e3 * value for side, value in sides.items()} for name, sides in seconds.items()
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomically(arguments.output, figures)
    table = Table("", "against", "ms", "here, ms", "ratio")
    for name, sides in figures.items():
        (other, against), here = next(iter(sides.items())), sides[HERE]
        table.add_row(
            name.removesuffix("_ms"), other, f"{against:.1f}", f"{here:.1f}", f"{against / here:.2f}"
        )
    Console().print(table)
    Console().print(f"written to {arguments.output}")


def reading(repetitions: int) -> dict[str, float]:
    """Seconds per frame, by reader."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "random"
        write_dataset([random_episode(seed) for seed in range(4)], root, "libero", {})
        datasets = {}
        for name, reader in {STOCK: lerobot_dataset.DatasetReader, HERE: ColumnReader}.items():
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


def stepping(sides: tuple[str, ...], repetitions: int) -> dict[str, float]:
    """Seconds per training step: `stock` with the allocator as it is, else with our settings."""

    def alone(side: str) -> float:
        command = [sys.executable, "-m", "pirl.benchmarks.cloning", f"--step-alone={side}"]
        environment = {name: value for name, value in os.environ.items() if name not in KEEP_BUFFERS}
        environment |= {} if side == STOCK else KEEP_BUFFERS
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return float(json.loads(done.stdout.splitlines()[-1]))

    return taking_turns({side: lambda s=side: alone(s) for side in sides}, repetitions)


def step_seconds(side: str) -> float:
    """Median of some training steps of a side in this process; BFLOAT16 whether or not the CPU has it."""
    policy = make_policy("tiny_xvla").train()
    if side == NO_DROPOUT:
        set_dropout(policy, 0.0)
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
        with torch.autocast("cpu", torch.bfloat16, enabled=side == BFLOAT16):
            loss = policy.forward(batch)[0]
        loss.backward()
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
