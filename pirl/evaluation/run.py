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
from pirl.evaluation.policy import EvaluationPolicy, load_policy
from pirl.evaluation.replay import REPLAY_FILE, Replay
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
        policy_folder: a standard LeRobot policy folder, or demonstrations to replay, which leave out
            episodes of tasks that they lack.
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
    policy: EvaluationPolicy | Replay
    if _is_replay(policy_folder):
        policy = Replay.load(policy_folder)
        plan = [episode for episode in plan if episode.task in policy.demonstrations]
        video_dir = None
    else:
        policy_type = _policy_type(policy_folder)
        policy = load_policy(policy_folder, environment_settings(experiment, policy_type))
    workers = EnvWorkers(
        max(1, min(simulation["workers"], len(plan))),
        sorted({episode.task for episode in plan}),
        chunk_size=policy.chunk_size,
        max_steps=experiment["evaluation"]["max_steps"],
        kept=1,  # plans go task by task
        fidelity=simulation["eval_fidelity"],
        height=simulation["height"],
        width=simulation["width"],
        **_body(experiment, policy_folder),
    )
    try:
        evaluator = Evaluator(
            policy,
            workers,
            seed=experiment["seed"],
            video_dir=video_dir,
            videos=experiment["evaluation"]["videos"] if video_dir else 0,
        )
        records = evaluator.run(plan, progress, label)
        write_text_atomically(records_path, "".join(record.line() for record in records))
        return records
    finally:
        workers.close()


def _is_replay(policy_folder: Path) -> bool:
    return (policy_folder / REPLAY_FILE).is_file()


def _policy_type(policy_folder: Path) -> str:
    return str(PreTrainedConfig.from_pretrained(policy_folder).type)


def _body(experiment: dict[str, Any], policy_folder: Path) -> dict[str, Any]:
    """How a policy moves the arm and what it sees through."""
    if _is_replay(policy_folder):
        return {"control_mode": Replay.control_mode, "cameras": ()}
    return {
        "control_mode": control_mode(experiment, _policy_type(policy_folder)),
        "cameras": tuple(experiment["simulation"]["cameras"]),
    }


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


def protocol(experiment: dict[str, Any], plan: list[PlannedEpisode], policy_folder: Path) -> dict[str, Any]:
    """The evaluation's protocol, as the report prints it."""
    simulation, body = experiment["simulation"], _body(experiment, policy_folder)
    cameras = ", ".join(body["cameras"]) or "not looked at"
    return {
        "episodes": len(plan),
        "starts": sorted({episode.start.kind for episode in plan}),
        "episodes_per_task": len(plan) // len({(episode.suite, episode.task_id) for episode in plan}),
        "max_steps": experiment["evaluation"]["max_steps"] or "the suite's own (280, 280, 300, 520)",
        "fidelity": simulation["eval_fidelity"],
        "image": f"{simulation['width']}x{simulation['height']}, {cameras}",
        "control_mode": body["control_mode"],
        "sampler": Replay.sampler if _is_replay(policy_folder) else EvaluationPolicy.sampler,
        "seed": experiment["seed"],
    }


def final_test(
    experiment: dict[str, Any],
    folder: Path,
    test: str,
    plan: list[PlannedEpisode],
    video_dir: Path | None = None,
) -> dict[str, Any]:
    """Run a final test of the policy in `folder/policy`; write its summary as `<folder>/<test>.json`."""
    records_path = folder / f"{test}_episodes.jsonl"
    label = f"{test} {folder.name}"
    began = time.perf_counter()
    records = evaluate_policy(experiment, folder / "policy", plan, records_path, label, video_dir=video_dir)
    summary = summarise(records) | {
        "protocol": protocol(experiment, plan, folder / "policy"),
        "episodes_file": records_path.name,
        "wall_s": time.perf_counter() - began,
    }
    if video_dir is not None:
        _remove_others(video_dir, {record.video for record in records})
    write_json_atomically(folder / f"{test}.json", summary)
    forget_progress(records_path)
    return summary


def trained_steps(folder: Path) -> int:
    """Environment steps behind a selected checkpoint; 0 for a warm start and for replay."""
    selected = json.loads((folder / "selected.json").read_text())["selected_checkpoint"]
    return int(selected) if selected.isdigit() else 0


def _remove_others(video_dir: Path, names: set[str | None]) -> None:
    """Films of earlier evaluations."""
    for path in video_dir.glob("*.gif"):
        if path.name not in names:
            path.unlink()
