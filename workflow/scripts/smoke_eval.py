"""Stage smoke_eval: test a selected policy on the trained tasks, official or wide starts.

python workflow/scripts/smoke_eval.py --config configs/smoke.yaml --recipe sac [--wide]
"""

from __future__ import annotations

from pirl.evaluation.plan import smoke_plan, wide_plan
from pirl.evaluation.run import final_test, trained_steps
from pirl.experiment.stage import stage, stage_parser


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument(
        "--wide", action="store_true", help="held-out wide starts instead of the official states"
    )
    arguments = parser.parse_args(args)
    protocol = "smoke_wide" if arguments.wide else "smoke"
    with stage(protocol, arguments, arguments.recipe) as run:
        plan = wide_plan(run.experiment) if arguments.wide else smoke_plan(run.experiment)
        videos = None if arguments.wide else run.results / arguments.recipe / "videos"
        summary = final_test(run.experiment, run.results, arguments.recipe, protocol, plan, video_dir=videos)
        run.tracker.log_evaluation(summary, protocol, trained_steps(run.results, arguments.recipe))


if __name__ == "__main__":
    main()
