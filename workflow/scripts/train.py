"""Stage train: one recipe's online training, learner and actors under one supervisor.

    python workflow/scripts/train.py --config configs/smoke.yaml --recipe pi_rl_flow_sde \
        --warm-start results/smoke/warm_start/policy --demonstrations data/demos/smoke/libero
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from pirl.experiment.recipes import run_settings
from pirl.experiment.stage import stage, stage_parser
from pirl.files import folder_hash, write_json_atomically
from pirl.runtime.supervisor import Supervisor


def begin(settings: dict[str, Any], warm_start: Path, demonstrations: Path) -> Path:
    """Write the run's configuration into its folder; drop checkpoints of a finished or a different run.

    The supervisor resumes whatever it finds. Only an interrupted run with the same settings, warm start and
    demonstrations may go on: anything else would pass old weights off as the result of new settings or code.

    Returns:
        The path of the configuration.
    """
    output_dir = Path(settings["output_dir"])
    origin = {
        "settings": settings,
        "warm_start": folder_hash(warm_start),
        "demonstrations": folder_hash(demonstrations),
    }
    known = output_dir / "origin.json"
    same = known.is_file() and json.loads(known.read_text()) == origin
    finished = (output_dir / "train.json").is_file()
    if (finished or not same) and (output_dir / "checkpoints").is_dir():
        logging.info("%s holds a finished run or one of other settings or data: training anew", output_dir)
        shutil.rmtree(output_dir / "checkpoints")
    write_json_atomically(known, origin)
    write_json_atomically(output_dir / "run.json", settings)
    return output_dir / "run.json"


def main(args: list[str] | None = None) -> None:
    """Run the stage; an interrupted run of the same settings resumes from its last checkpoint."""
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
        Supervisor(begin(settings, arguments.warm_start, arguments.demonstrations)).run()
        target = run.results / arguments.recipe / "train.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(output_dir / "train.json", target)


if __name__ == "__main__":
    main()
