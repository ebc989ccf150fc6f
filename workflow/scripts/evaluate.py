"""Stages smoke_eval and suite_eval: test a selected policy and write per-task and per-suite success.

    python workflow/scripts/evaluate.py --config configs/smoke.yaml --recipe sac --protocol suites
"""

from __future__ import annotations

import shutil
import time

from pirl.evaluation.plan import smoke_plan, suite_plan, wide_plan
from pirl.evaluation.run import evaluate_policy, protocol
from pirl.evaluation.summary import summarise
from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically

PLANS = {"smoke": smoke_plan, "smoke_wide": wide_plan, "suites": suite_plan}


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--protocol", required=True, choices=sorted(PLANS))
    arguments = parser.parse_args(args)
    name = f"{arguments.protocol}_{arguments.recipe}"
    with stage(name, arguments) as (experiment, results):
        folder = results / arguments.recipe
        plan = PLANS[arguments.protocol](experiment)
        records_path = folder / f"{arguments.protocol}_episodes.jsonl"
        records_path.unlink(missing_ok=True)
        videos = folder / "videos" if arguments.protocol == "smoke" else None
        if videos is not None:
            shutil.rmtree(videos, ignore_errors=True)
        began = time.perf_counter()
        records = evaluate_policy(
            experiment, folder / "policy", plan, records_path, name.replace("_", " "), video_dir=videos
        )
        summary = summarise(records) | {
            "protocol": protocol(experiment, plan),
            "episodes_file": records_path.name,
            "wall_s": time.perf_counter() - began,
        }
        write_json_atomically(folder / f"{arguments.protocol}.json", summary)


if __name__ == "__main__":
    main()
