"""How much feedback each kind of start needs: the expert against blind replay of one of its episodes.

`python -m pirl.benchmarks.starts [--suite libero_object] [--episodes 10] [--out results/bench/starts.json]`

The expert solves the task from official state 0; its actions are then replayed, unchanged, from other starts.
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

from pirl.envs.expert import ScriptedExpert
from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start, StartKind
from pirl.envs.tasks import SUITES, num_tasks

KINDS: tuple[StartKind, ...] = ("official", "sampled", "wide")


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
    recorded: list[np.ndarray] = []
    solved = succeeds(simulation, Start("official"), record(simulation, recorded))
    counts: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        starts = [
            Start(kind, index if kind == "official" else 0, seed=index) for index in range(1, episodes + 1)
        ]
        counts[kind] = {
            "expert": sum(succeeds(simulation, start, feedback(simulation)) for start in starts),
            "replay": sum(succeeds(simulation, start, recorded) for start in starts) if solved else 0,
        }
    simulation.close()
    return {"suite": suite, "task_id": task_id, "episodes": episodes, "recorded": solved, "successes": counts}


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


def record(simulation: LiberoSimulation, into: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The expert's actions, kept in `into` too."""
    for action in feedback(simulation):
        into.append(action)
        yield action


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
