"""Stage replay: the demonstrations whose blind replay is the floor of every test.

python workflow/scripts/replay.py --config configs/smoke.yaml
"""

from __future__ import annotations

from pirl.demonstrations.targets import record_targets
from pirl.evaluation.plan import tested_tasks
from pirl.evaluation.replay import Replay
from pirl.experiment.recipes import REPLAY
from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    arguments = stage_parser(__doc__.splitlines()[0]).parse_args(args)
    with stage(REPLAY, arguments, REPLAY) as run:
        settings = run.experiment["replay"]
        per_task = settings["demonstrations_per_task"]
        demonstrations = record_targets(
            tested_tasks(run.experiment),
            per_task,
            settings["seed_base"],
            run.experiment["simulation"]["workers"],
        )
        folder = run.results / REPLAY / "policy"
        folder.mkdir(parents=True, exist_ok=True)
        Replay(demonstrations).save(folder)
        write_json_atomically(
            run.results / REPLAY / "selected.json",
            {"selected_checkpoint": "expert", "rule": f"{per_task} per task in turn", "candidates": []},
        )


if __name__ == "__main__":
    main()
