"""How much feedback each kind of start needs: the expert against blind replay of its demonstrations.

`python -m pirl.benchmarks.starts [--suite libero_object] [--episodes 10] [--out results/bench/starts.json]`

Replay is the pipeline's floor (pirl/evaluation/replay.py): five demonstrations per task from sampled starts,
in turn, in absolute control.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pirl.demonstrations.targets import demonstrated_targets
from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start, StartKind
from pirl.envs.tasks import SUITES, num_tasks

KINDS: tuple[StartKind, ...] = ("official", "sampled", "wide")
DEMONSTRATIONS = 5
SEED = 5_000_000


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=SUITES, default="libero_object")
    parser.add_argument("--episodes", type=int, default=10, help="starts of each kind per task")
    parser.add_argument("--out", type=Path, default=Path("results/bench/starts.json"))
    arguments = parser.parse_args()
    tasks = track(range(num_tasks(arguments.suite)), arguments.suite)
    rows = [measure(arguments.suite, task_id, arguments.episodes) for task_id in tasks]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    Console().print(table(rows))
    Console().print(f"written to {arguments.out}")


def measure(suite: str, task_id: int, episodes: int) -> dict[str, Any]:
    """Successes of the expert and of replay over `episodes` starts of each kind, in one task."""
    simulation = LiberoSimulation(suite, task_id, cameras=(), fidelity="fast")
    absolute = LiberoSimulation(suite, task_id, cameras=(), fidelity="fast", control_mode="absolute")
    recorded = demonstrated_targets(simulation, DEMONSTRATIONS, SEED)
    counts: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        starts = [
            Start(kind, index if kind == "official" else 0, seed=index) for index in range(1, episodes + 1)
        ]
        counts[kind] = {
            "expert": sum(succeeds(simulation, start, feedback(simulation)) for start in starts),
            "replay": sum(
                succeeds(absolute, start, recorded[start.seed % len(recorded)])
                for start in starts
                if recorded
            ),
        }
    simulation.close()
    absolute.close()
    return {
        "suite": suite,
        "task_id": task_id,
        "episodes": episodes,
        "demonstrations": len(recorded),
        "successes": counts,
    }


def succeeds(simulation: LiberoSimulation, start: Start, actions: Iterable[np.ndarray]) -> bool:
    """Run one episode; `actions` is asked for its first action after the reset."""
    simulation.reset(start)
    steps = zip(actions, range(simulation.task.max_steps), strict=False)
    return any(simulation.step(action) for action, _ in steps)


def feedback(simulation: LiberoSimulation) -> Iterator[np.ndarray]:
    """The expert's actions, each computed from the state of its moment."""
    expert = ScriptedExpert(simulation)
    while not expert.done:
        yield expert.act()


def table(rows: list[dict[str, Any]]) -> Table:
    """One row per task, successes out of the episodes of each kind; and their sum."""
    result = Table(title=f"{rows[0]['suite']}: successes of the expert / of replay")
    for column in ("task", *KINDS):
        result.add_column(column, justify="right")
    for row in rows:
        cells = [f"{row['successes'][kind]['expert']} / {row['successes'][kind]['replay']}" for kind in KINDS]
        result.add_row(str(row["task_id"]), *cells)
    result.add_section()
    sums = [
        " / ".join(str(sum(row["successes"][kind][who] for row in rows)) for who in ("expert", "replay"))
        for kind in KINDS
    ]
    result.add_row(f"of {sum(row['episodes'] for row in rows)}", *sums)
    return result


if __name__ == "__main__":
    main()
