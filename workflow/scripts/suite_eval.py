"""Stage suite_eval: test a selected policy on whole LIBERO suites, official initial states.

python workflow/scripts/suite_eval.py --config configs/smoke.yaml --recipe sac
"""

from __future__ import annotations

from pirl.evaluation.plan import suite_plan
from pirl.evaluation.run import final_test, trained_steps
from pirl.experiment.stage import stage, stage_parser


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    arguments = parser.parse_args(args)
    with stage("suites", arguments, arguments.recipe) as run:
        folder = run.results / arguments.recipe
        summary = final_test(run.experiment, folder, "suites", suite_plan(run.experiment))
        run.tracker.log_evaluation(summary, "suites", trained_steps(folder))


if __name__ == "__main__":
    main()
