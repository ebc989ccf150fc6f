"""Evaluates a policy folder on a plan, with an experiment's settings: what the stages call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pirl.envs.workers import EnvWorkers
from pirl.evaluation.evaluator import EpisodeRecord, Evaluator
from pirl.evaluation.plan import PlannedEpisode
from pirl.evaluation.policy import load_policy
from pirl.evaluation.summary import summarise
from pirl.experiment.recipes import environment_settings
from pirl.files import write_json_atomically


def evaluate_policy(
    experiment: dict[str, Any],
    policy_folder: Path,
    plan: list[PlannedEpisode],
    records_path: Path,
    label: str,
    *,
    video_dir: Path | None = None,
) -> list[EpisodeRecord]:
    """Run `plan` and return one record per episode; goes on where an interrupted run stopped.

    Args:
        experiment: a complete experiment.
        policy_folder: a standard LeRobot policy folder.
        plan: the episodes.
        records_path: JSON-lines file of episode records.
        label: text of the progress bar.
        video_dir: where to keep the first few episodes as pictures.
    """
    simulation = experiment["simulation"]
    policy = load_policy(policy_folder, environment_settings(experiment))
    tasks = sorted({(episode.suite, episode.task_id) for episode in plan})
    workers = EnvWorkers(
        min(simulation["workers"], len(plan)),
        tasks,
        chunk_size=policy.chunk_size,
        max_steps=experiment["evaluation"]["max_steps"],
        fidelity=simulation["eval_fidelity"],
        height=simulation["height"],
        width=simulation["width"],
        control_mode=simulation["control_mode"],
        cameras=tuple(simulation["cameras"]),
    )
    try:
        evaluator = Evaluator(
            policy,
            policy.processing,
            workers,
            policy.chunk_size,
            seed=experiment["seed"],
            video_dir=video_dir,
            videos=experiment["evaluation"]["videos"] if video_dir else 0,
        )
        return evaluator.run(plan, records_path, label)
    finally:
        workers.close()


def protocol(experiment: dict[str, Any], plan: list[PlannedEpisode]) -> dict[str, Any]:
    """The evaluation's protocol, as the report prints it."""
    simulation = experiment["simulation"]
    return {
        "episodes": len(plan),
        "starts": sorted({episode.start.kind for episode in plan}),
        "episodes_per_task": len(plan) // len({(episode.suite, episode.task_id) for episode in plan}),
        "max_steps": experiment["evaluation"]["max_steps"] or "the suite's own (280, 280, 300, 520)",
        "fidelity": simulation["eval_fidelity"],
        "image": f"{simulation['width']}x{simulation['height']}, {', '.join(simulation['cameras'])}",
        "control_mode": simulation["control_mode"],
        "sampler": "the policy's own, without exploration noise",
        "seed": experiment["seed"],
    }


def final_test(
    experiment: dict[str, Any],
    results: Path,
    recipe: str,
    protocol_name: str,
    plan: list[PlannedEpisode],
    *,
    video_dir: Path | None = None,
) -> dict[str, Any]:
    """Run one final test; write its summary as `<results>/<recipe>/<protocol_name>.json` and return it."""
    folder = results / recipe
    records_path = folder / f"{protocol_name}_episodes.jsonl"
    records_path.unlink(missing_ok=True)
    began = time.perf_counter()
    records = evaluate_policy(
        experiment, folder / "policy", plan, records_path, f"{protocol_name} {recipe}", video_dir=video_dir
    )
    summary = summarise(records) | {
        "protocol": protocol(experiment, plan),
        "episodes_file": records_path.name,
        "wall_s": time.perf_counter() - began,
    }
    write_json_atomically(folder / f"{protocol_name}.json", summary)
    return summary


def trained_steps(results: Path, recipe: str) -> int:
    """Environment steps behind a recipe's selected checkpoint; 0 for a warm start."""
    selected = json.loads((results / recipe / "selected.json").read_text())["selected_checkpoint"]
    return int(selected) if selected.isdigit() else 0
