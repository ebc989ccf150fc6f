"""Stage pointing: rendered scenes of the experiment's tasks, labelled with where object and destination are.

python workflow/scripts/pointing.py --config configs/default.yaml --output data/pointing/default/xvla
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pirl.demonstrations.pointing import CONTROL_MODE, LAYOUT, Pointing, write_pointing
from pirl.experiment.recipes import demonstration_layout
from pirl.experiment.stage import stage, stage_parser


def pointing_settings(experiment: dict[str, Any]) -> Pointing:
    """What to draw for an experiment.

    Raises:
        ValueError: when its policy or control mode cannot use it.
    """
    pretrain, simulation = experiment["pretrain"], experiment["simulation"]
    if demonstration_layout(experiment) != LAYOUT or simulation["control_mode"] != CONTROL_MODE:
        raise ValueError(
            "pretrain.scenes_per_task: pointing is learnt as an absolute pose, which an xvla policy with "
            "simulation.control_mode: absolute gives; use both, or set it to 0"
        )
    return Pointing(
        suite=experiment["suite"],
        task_ids=tuple(experiment["task_ids"]),
        scenes=pretrain["scenes_per_task"],
        frames=pretrain["frames_per_scene"],
        seed=pretrain["seed_base"],
        cameras=tuple(simulation["cameras"]),
        height=simulation["height"],
        width=simulation["width"],
        fidelity=simulation["train_fidelity"],
    )


def main() -> None:
    """Draw the data set anew."""
    parser = stage_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    arguments = parser.parse_args()
    with stage("pointing", arguments) as run:
        settings = pointing_settings(run.experiment)
        shutil.rmtree(arguments.output, ignore_errors=True)
        write_pointing(settings, arguments.output, run.experiment["simulation"]["workers"])


if __name__ == "__main__":
    main()
