"""Stage train: one recipe's online training, learner and actors under one supervisor.

    python workflow/scripts/train.py --config configs/smoke.yaml --recipe pi_rl_flow_sde \
        --warm-start results/smoke/warm_start/policy --demonstrations data/demos/smoke/libero
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pirl.experiment.recipes import run_settings
from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically
from pirl.runtime.supervisor import Supervisor


def main(args: list[str] | None = None) -> None:
    """Run the stage; an interrupted run resumes from its last checkpoint."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True, help="such as sac, or sac/seed_1 for another seed")
    parser.add_argument("--warm-start", type=Path, required=True, help="folder of the warm-started policy")
    parser.add_argument("--demonstrations", type=Path, required=True, help="data set in LIBERO's layout")
    parser.add_argument("--work-dir", type=Path, default=None, help="folder for checkpoints and logs")
    arguments = parser.parse_args(args)
    with stage("train", arguments, arguments.recipe) as run:
        output_dir = arguments.work_dir or Path("runs") / run.experiment["run"] / arguments.recipe
        settings = run_settings(
            run.trained,
            run.recipe,
            warm_start=arguments.warm_start,
            demonstrations=arguments.demonstrations,
            output_dir=output_dir,
        )
        config_path = output_dir / "run.json"
        write_json_atomically(config_path, settings)
        Supervisor(config_path).run()
        target = run.results / arguments.recipe / "train.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(output_dir / "train.json", target)


if __name__ == "__main__":
    main()
