"""Stage demos: demonstrations of the experiment's tasks, in both layouts.

python workflow/scripts/demos.py --config configs/smoke.yaml --output data/demos/smoke
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pirl.demonstrations.cli import DemosConfig, make_demonstrations
from pirl.demonstrations.datasets import convert_dataset
from pirl.demonstrations.hub import fetch_demonstrations
from pirl.experiment.stage import stage, stage_parser


def demos_config(experiment: dict[str, Any], out: Path) -> DemosConfig:
    """`pirl-demos` settings of an experiment."""
    demos, simulation = experiment["demos"], experiment["simulation"]
    return DemosConfig(
        out=out,
        suite=experiment["suite"],
        task_ids=experiment["task_ids"],
        episodes=demos["episodes_per_task"],
        starts=demos["starts"],
        seed=demos["seed_base"],
        cameras=simulation["cameras"],
        height=simulation["height"],
        width=simulation["width"],
        workers=simulation["workers"],
        action_noise=demos["action_noise"],
        fidelity=simulation["train_fidelity"],
    )


def main() -> None:
    """Record or fetch the demonstrations, then convert them for XVLA."""
    parser = stage_parser(__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder that gets `libero` and `xvla` data sets"
    )
    arguments = parser.parse_args()
    with stage("demos", arguments) as run:
        experiment = run.experiment
        config = demos_config(experiment, arguments.output / "libero")
        if experiment["demos"]["source"] == "hub":
            fetch_demonstrations(experiment["demos"]["hub_dataset"], config)
        else:
            make_demonstrations(config)
        convert_dataset(
            config.out, arguments.output / "xvla", "xvla", experiment["simulation"]["control_mode"]
        )


if __name__ == "__main__":
    main()
