"""Speed of the evaluator against stock `lerobot-eval`, in results/bench/evaluation.json.

    python -m pirl.benchmarks.evaluation [--config configs/smoke.yaml] [--policy FOLDER] [--runs 3]

Both run the same policy for the same episodes (the experiment's tasks, official states, LeRobot's own step
limits) in `exact` fidelity, as whole commands with their start-up, and take turns; the ratio is the median
over the runs. lerobot-eval records its films, as it always does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pirl.benchmarks.options import chosen_policy, policy_parser
from pirl.evaluation.plan import smoke_plan
from pirl.evaluation.run import evaluate_policy
from pirl.experiment.config import load_experiment
from pirl.experiment.recipes import environment_settings
from pirl.files import write_json_atomically


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = policy_parser(__doc__)
    parser.add_argument("--episodes", type=int, default=10, help="official states per task")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/bench/evaluation.json"))
    parser.add_argument("--ours-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    policy = chosen_policy(parser, arguments)
    experiment = _experiment(arguments.config, arguments.episodes)
    if arguments.ours_into:
        evaluate_policy(
            experiment, policy, smoke_plan(experiment), arguments.ours_into / "records.jsonl", "ours"
        )
        return
    runs = [
        (timed(ours(arguments, policy)), timed(stock(experiment, policy)))
        for _ in track(range(arguments.runs), "runs")
    ]
    episodes = len(smoke_plan(experiment))
    figures = {
        "episodes": episodes,
        "ours_s": statistics.median(mine for mine, _ in runs),
        "lerobot_eval_s": statistics.median(theirs for _, theirs in runs),
        "ratio": statistics.median(theirs / mine for mine, theirs in runs),
        "runs_s": runs,
    }
    write_json_atomically(arguments.out, figures)
    table = Table("", "s", title=f"{episodes} episodes, exact fidelity")
    for name in ("ours_s", "lerobot_eval_s"):
        table.add_row(name.removesuffix("_s"), f"{figures[name]:.1f}")
    table.add_row("ratio", f"{figures['ratio']:.1f}")
    Console().print(table)
    Console().print(f"written to {arguments.out}")


def ours(arguments: argparse.Namespace, policy: Path) -> list[str]:
    """Our evaluator as a command: this module in a process of its own."""
    words = ["--config", arguments.config, "--policy", policy, "--episodes", arguments.episodes]
    return [sys.executable, "-m", "pirl.benchmarks.evaluation", *map(str, words), "--ours-into"]


def stock(experiment: dict[str, Any], policy: Path) -> list[str]:
    """The lerobot-eval command for the same episodes."""
    policy_type = json.loads((policy / "config.json").read_text())["type"]
    flags = {f"env.{key}": value for key, value in environment_settings(experiment, policy_type).items()}
    flags |= {
        "policy.path": policy,
        "env.task_ids": json.dumps(experiment["task_ids"]),
        "eval.batch_size": 1,
        "eval.n_episodes": experiment["smoke_eval"]["episodes_per_task"],
        "seed": experiment["seed"],
    }
    command = [sys.executable, "-m", "pirl.stock", "lerobot-eval"]
    return [*command, *(f"--{key}={value}" for key, value in flags.items()), "--output_dir"]


def timed(command: list[str]) -> float:
    """Seconds that a command takes; its last word is to be a fresh folder.

    Raises:
        RuntimeError: with the end of its output, when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-2000:]}")
    return seconds


def _experiment(config: Path, episodes: int) -> dict[str, Any]:
    experiment = load_experiment(config)
    experiment["simulation"]["eval_fidelity"] = "exact"
    experiment["simulation"]["workers"] = 2
    experiment["evaluation"]["max_steps"] = None
    experiment["smoke_eval"]["episodes_per_task"] = episodes
    return experiment


if __name__ == "__main__":
    main()
