"""What each ablation changes and what it is worth: a row per file of `configs/ablations` that has been run.

python -m pirl.reporting.ablations configs/ablations
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pirl.evaluation.statistics import Interval, paired_comparison, wilson_interval
from pirl.files import write_json_atomically
from pirl.reporting.results import ReportError, read_episodes, read_result

CONTROL = "control"
RECIPE, TEST = "pi_rl_flow_sde", "smoke_wide"


@dataclass(frozen=True)
class Ablation:
    """One changed training.

    Attributes:
        name: stem of its configuration.
        change: what that file's first comment says.
        successes: of the wide starts.
        episodes: wide starts tested.
        interval: Wilson 95 % interval of the success rate.
        won: starts that it solves and the control does not.
        lost: starts that the control solves and it does not.
        minutes: of training.
    """

    name: str
    change: str
    successes: int
    episodes: int
    interval: Interval
    won: int
    lost: int
    minutes: float


def load_ablations(configs: Path, results: Path) -> Iterator[Ablation]:
    """Those that have been run, the control first.

    Raises:
        ReportError: when the control's results, or those of a training that was tested, are missing.
    """
    control = _outcomes(results / CONTROL / RECIPE)
    for config in sorted(configs.glob("*.yaml"), key=lambda path: (path.stem != CONTROL, path.stem)):
        folder = results / config.stem / RECIPE
        if not (folder / f"{TEST}.json").is_file():
            continue
        outcomes = _outcomes(folder)
        pairs = paired_comparison(control, outcomes)
        successes = sum(outcomes.values())
        yield Ablation(
            config.stem,
            _first_comment(config),
            successes,
            len(outcomes),
            wilson_interval(successes, len(outcomes)),
            pairs.only_b,
            pairs.only_a,
            read_result(folder / "train.json", "stage train")["wall_s"] / 60,
        )


def _outcomes(folder: Path) -> dict[Hashable, bool]:
    return read_episodes(folder, read_result(folder / f"{TEST}.json", "make ablations"))


def _first_comment(config: Path) -> str:
    lines = config.read_text(encoding="utf-8").splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("# ") for line in lines[:end])


def main() -> None:
    """Print a row per ablation and write them down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, help="folder of the ablations' configurations")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where their results lie")
    arguments = parser.parse_args()
    try:
        ablations = list(load_ablations(arguments.configs, arguments.results))
    except ReportError as error:
        sys.exit(str(error))
    out = arguments.results / "ablations.json"
    write_json_atomically(out, [asdict(ablation) for ablation in ablations])
    table = Table("", "wide starts", "95 %", "won, lost", "min", title="Against the control")
    for ablation in ablations:
        low, high = (f"{100 * bound:.0f}" for bound in ablation.interval)
        table.add_row(
            ablation.name,
            f"{ablation.successes} of {ablation.episodes}",
            f"[{low}, {high}]",
            f"{ablation.won}, {ablation.lost}",
            f"{ablation.minutes:.1f}",
        )
    Console(markup=False).print(table)
    Console().print(f"written to {out}")


if __name__ == "__main__":
    main()
