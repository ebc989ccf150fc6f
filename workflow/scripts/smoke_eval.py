"""Stage smoke_eval: test a selected policy on the trained tasks.

python workflow/scripts/smoke_eval.py --config configs/smoke.yaml --recipe sac [--wide | --exact]
"""

from __future__ import annotations

from pirl.evaluation.plan import TESTS, filmed_test
from pirl.evaluation.run import final_test, trained_steps
from pirl.experiment.stage import stage, stage_parser


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    test = parser.add_mutually_exclusive_group()
    for name, what in (("wide", "held-out wide starts"), ("exact", "stock rendering")):
        test.add_argument(f"--{name}", dest="test", action="store_const", const=f"smoke_{name}", help=what)
    parser.set_defaults(test="smoke")
    arguments = parser.parse_args(args)
    with stage(arguments.test, arguments, arguments.recipe) as run:
        experiment, folder = run.experiment, run.results / arguments.recipe
        if arguments.test == "smoke_exact":
            experiment["simulation"]["eval_fidelity"] = "exact"
        videos = folder / "videos" if arguments.test == filmed_test(experiment) else None
        summary = final_test(experiment, folder, arguments.test, TESTS[arguments.test](experiment), videos)
        run.tracker.log_evaluation(summary, arguments.test, trained_steps(folder))


if __name__ == "__main__":
    main()
