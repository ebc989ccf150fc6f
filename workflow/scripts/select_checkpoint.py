"""Stage select: evaluate a run's checkpoints on selection starts and copy out the best.

python workflow/scripts/select_checkpoint.py --config configs/smoke.yaml --recipe sac --run-dir runs/smoke/sac
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lerobot.utils.constants import PRETRAINED_MODEL_DIR

from pirl.evaluation.evaluator import EpisodeRecord
from pirl.evaluation.model_card import write_model_card
from pirl.evaluation.plan import selection_plan
from pirl.evaluation.run import evaluate_policy, forget_progress, protocol
from pirl.evaluation.selection import RULE, evaluate_candidates, list_checkpoints, select
from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically
from pirl.policies.export import export_policy


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--run-dir", type=Path, required=True, help="the training run's folder")
    arguments = parser.parse_args(args)
    with stage("select", arguments, arguments.recipe) as run:
        experiment, results = run.experiment, run.results
        plan = selection_plan(experiment)
        records_dir = arguments.run_dir / "selection"

        def evaluate(checkpoint: Path) -> list[EpisodeRecord]:
            records = records_dir / f"{checkpoint.name}.jsonl"
            label = f"select {arguments.recipe} {checkpoint.name}"
            return evaluate_policy(experiment, checkpoint / PRETRAINED_MODEL_DIR, plan, records, label)

        candidates = evaluate_candidates(list_checkpoints(arguments.run_dir), evaluate)
        for candidate in candidates:
            run.tracker.log_checkpoint(
                f"{run.recipe}-{candidate.checkpoint}",
                arguments.run_dir / "checkpoints" / candidate.checkpoint,
                candidate.env_steps,
                {"select/success_rate": candidate.success_rate},
            )
        best = select(candidates)
        folder = arguments.run_dir / "checkpoints" / best.checkpoint / PRETRAINED_MODEL_DIR
        selected = export_policy(folder, results / arguments.recipe / "policy")
        policy_type = json.loads((selected / "config.json").read_text())["type"]
        write_model_card(selected, run.trained, run.recipe, policy_type, best)
        write_json_atomically(
            results / arguments.recipe / "selected.json",
            {
                "selected_checkpoint": best.checkpoint,
                "rule": RULE,
                "protocol": protocol(experiment, plan, selected),
                "candidates": [asdict(c) | {"success_rate": c.success_rate} for c in candidates],
            },
        )
        for checkpoint in list_checkpoints(arguments.run_dir):
            forget_progress(records_dir / f"{checkpoint.name}.jsonl")


if __name__ == "__main__":
    main()
