"""Evaluates a policy folder on a plan, with an experiment's settings: what the stages call."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from lerobot.configs.policies import PreTrainedConfig

from pirl.envs.workers import EnvWorkers
from pirl.evaluation.evaluator import EpisodeRecord, Evaluator
from pirl.evaluation.plan import PlannedEpisode
from pirl.evaluation.policy import load_policy
from pirl.evaluation.summary import summarise
from pirl.experiment.recipes import control_mode, environment_settings
from pirl.files import write_json_atomically, write_text_atomically

PACKAGE = Path(__file__).parents[1]


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

    Records gather in a file beside `records_path` that is named after everything that decides outcomes; a
    stage that has used them calls `forget_progress`.

    Args:
        experiment: a complete experiment.
        policy_folder: a standard LeRobot policy folder.
        plan: the episodes.
        records_path: JSON-lines file of episode records.
        label: text of the progress bar.
        video_dir: where films of a few episodes go; None films nothing.
    """
    simulation = experiment["simulation"]
    progress = records_path.with_name(
        f"{records_path.name}.{_fingerprint(experiment, policy_folder)}.partial"
    )
    forget_progress(records_path, keep=progress)
    policy_type = _policy_type(policy_folder)
    policy = load_policy(policy_folder, environment_settings(experiment, policy_type))
    tasks = sorted({(episode.suite, episode.task_id) for episode in plan})
    workers = EnvWorkers(
        min(simulation["workers"], len(plan)),
        tasks,
        chunk_size=policy.chunk_size,
        max_steps=experiment["evaluation"]["max_steps"],
        fidelity=simulation["eval_fidelity"],
        height=simulation["height"],
        width=simulation["width"],
        control_mode=control_mode(experiment, policy_type),
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
        records = evaluator.run(plan, progress, label)
        write_text_atomically(records_path, "".join(record.line() for record in records))
        return records
    finally:
        workers.close()


def _policy_type(policy_folder: Path) -> str:
    return str(PreTrainedConfig.from_pretrained(policy_folder).type)


def forget_progress(records_path: Path, keep: Path | None = None) -> None:
    """Remove the progress of evaluations that are finished or of other policies, settings or code."""
    for progress in records_path.parent.glob(f"{records_path.name}.*.partial"):
        if progress != keep:
            progress.unlink()


def _fingerprint(experiment: dict[str, Any], policy_folder: Path) -> str:
    """Of all that decides an episode's outcome: policy, simulation, protocol, seed and code."""
    digest = hashlib.sha256()
    settings = {key: experiment[key] for key in ("simulation", "evaluation", "seed")}
    settings["simulation"] = {k: v for k, v in settings["simulation"].items() if k != "workers"}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    code = [
        path for package in ("envs", "evaluation", "policies") for path in (PACKAGE / package).rglob("*.py")
    ]
    for path in sorted([*code, *(path for path in Path(policy_folder).glob("*") if path.is_file())]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def protocol(experiment: dict[str, Any], plan: list[PlannedEpisode], policy_type: str) -> dict[str, Any]:
    """The evaluation's protocol, as the report prints it."""
    simulation = experiment["simulation"]
    return {
        "episodes": len(plan),
        "starts": sorted({episode.start.kind for episode in plan}),
        "episodes_per_task": len(plan) // len({(episode.suite, episode.task_id) for episode in plan}),
        "max_steps": experiment["evaluation"]["max_steps"] or "the suite's own (280, 280, 300, 520)",
        "fidelity": simulation["eval_fidelity"],
        "image": f"{simulation['width']}x{simulation['height']}, {', '.join(simulation['cameras'])}",
        "control_mode": control_mode(experiment, policy_type),
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
    began = time.perf_counter()
    records = evaluate_policy(
        experiment, folder / "policy", plan, records_path, f"{protocol_name} {recipe}", video_dir=video_dir
    )
    summary = summarise(records) | {
        "protocol": protocol(experiment, plan, _policy_type(folder / "policy")),
        "episodes_file": records_path.name,
        "wall_s": time.perf_counter() - began,
    }
    if video_dir is not None:
        _remove_others(video_dir, {record.video for record in records})
    write_json_atomically(folder / f"{protocol_name}.json", summary)
    forget_progress(records_path)
    return summary


def trained_steps(results: Path, recipe: str) -> int:
    """Environment steps behind a recipe's selected checkpoint; 0 for a warm start."""
    selected = json.loads((results / recipe / "selected.json").read_text())["selected_checkpoint"]
    return int(selected) if selected.isdigit() else 0


def _remove_others(video_dir: Path, names: set[str | None]) -> None:
    """Films of earlier evaluations."""
    for path in video_dir.glob("*.gif"):
        if path.name not in names:
            path.unlink()
