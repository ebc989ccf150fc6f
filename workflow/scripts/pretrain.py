"""Stage pretrain: the policy learns to point, with stock `lerobot-train`.

python workflow/scripts/pretrain.py --config configs/default.yaml --dataset data/pointing/default/xvla
"""

from __future__ import annotations

from pathlib import Path

from pirl.experiment.cloning import clone
from pirl.experiment.stage import stage, stage_parser
from pirl.policies.export import export_policy

PRETRAIN = "pretrain"


def main() -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="pointing data in the policy's layout")
    parser.add_argument("--work-dir", type=Path, default=None, help="lerobot-train's output folder")
    arguments = parser.parse_args()
    with stage(PRETRAIN, arguments) as run:
        work_dir = arguments.work_dir or Path("runs") / run.experiment["run"] / PRETRAIN
        trained = clone(run.experiment, arguments.dataset, work_dir, PRETRAIN)
        export_policy(trained, run.results / PRETRAIN / "policy")


if __name__ == "__main__":
    main()
