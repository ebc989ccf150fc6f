"""Measure the expert: one row per task with successes and mean length.

`python -m pirl.envs.expert --suite libero_object --episodes 20 --starts official`
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Literal

import numpy as np

from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start
from pirl.envs.tasks import num_tasks


def run_episode(simulation: LiberoSimulation, start: Start, action_noise: float = 0.0) -> tuple[bool, int]:
    """One episode without images: success and control steps."""
    noise = np.random.default_rng(start.seed)
    simulation.reset(start)
    expert = ScriptedExpert(simulation)
    for step in range(simulation.task.max_steps):
        action = expert.act()
        if expert.done:
            return False, step
        action[:6] = np.clip(action[:6] + noise.normal(0.0, action_noise, 6), -1.0, 1.0)
        if simulation.step(action):
            return True, step + 1
    return False, simulation.task.max_steps


def measure(
    suite: str, task_id: int, starts: list[Start], action_noise: float, fidelity: Literal["exact", "fast"]
) -> dict:
    """Successes, mean length and the failed starts of one task."""
    simulation = LiberoSimulation(suite, task_id, cameras=(), fidelity=fidelity)
    began = time.perf_counter()
    try:
        outcomes = [run_episode(simulation, start, action_noise) for start in starts]
    finally:
        simulation.close()
    return {
        "suite": suite,
        "task_id": task_id,
        "language": simulation.task.language,
        "successes": sum(success for success, _ in outcomes),
        "episodes": len(starts),
        "mean_length": float(np.mean([length for _, length in outcomes])),
        "seconds_per_episode": (time.perf_counter() - began) / len(starts),
        "failed": [
            start.to_dict() for start, (success, _) in zip(starts, outcomes, strict=True) if not success
        ],
    }


def main() -> None:
    """Print a Markdown table; optionally write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--task_ids", type=json.loads, default=None, help="e.g. '[0,3]'; default: all")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--starts", choices=["official", "sampled", "wide"], default="official")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--action_noise", type=float, default=0.0)
    parser.add_argument("--fidelity", choices=["exact", "fast"], default="fast")
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the figures")
    arguments = parser.parse_args()
    starts = [
        Start(arguments.starts, i if arguments.starts == "official" else 0, arguments.seed + i)
        for i in range(arguments.episodes)
    ]
    rows = []
    print("| suite | task | successes | mean length |\n| --- | --- | --- | --- |")
    for task_id in arguments.task_ids or range(num_tasks(arguments.suite)):
        row = measure(arguments.suite, task_id, starts, arguments.action_noise, arguments.fidelity)
        rows.append(row)
        print(
            f"| {row['suite']} | {task_id} {row['language']} | {row['successes']}/{row['episodes']}"
            f" | {row['mean_length']:.0f} |",
            flush=True,
        )
    total = sum(row["successes"] for row in rows)
    print(f"| {arguments.suite} | all | {total}/{len(rows) * len(starts)} | |")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
