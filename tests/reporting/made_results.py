"""Writes a results folder with made-up numbers, in the form in which the stages write it. Test data only."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image

from pirl.evaluation.statistics import wilson_interval

RATES = {"warm_start": 0.35, "pi_rl_flow_sde": 0.9, "pi_rl_flow_noise": 0.8, "sac": 0.1}
SUITES = ["libero_spatial", "libero_object", "libero_goal", "libero_10"]
SENTENCES = [
    "pick up the alphabet soup and place it in the basket",
    "put both the alphabet soup and the tomato sauce in the basket",
    "turn on the stove and put the moka pot on it",
]
RUN_TIMES = {"demos": 210.0, "warm_start": 640.0, "report": 4.0}
RECIPE_TIMES = {"train": 1500.0, "select": 240.0, "smoke": 130.0, "suites": 420.0}
RECIPE_TIMES |= {"smoke_wide": 120.0, "smoke_exact": 60.0}


def make_results(
    folder: Path,
    *,
    rates: dict[str, float] = RATES,
    seeds: int = 1,
    wide: bool = True,
    videos: bool = True,
    tasks: int = 10,
    episodes: int = 20,
    alike: bool = False,
) -> Path:
    """Fill `folder` like the stages of a run do; `alike` lets every policy solve exactly the same share."""
    random.seed(0)
    for stage, wall_s in RUN_TIMES.items():
        _write(folder / "timings" / f"{stage}.json", {"stage": stage, "wall_s": wall_s})
    for recipe, rate in {"replay": 0.8, **rates}.items():
        trained = recipe not in ("replay", "warm_start")
        for seed in range(seeds if trained else 1):
            path = f"{recipe}/seed_{seed}" if seed else recipe
            own = folder / path
            for stage, wall_s in RECIPE_TIMES.items():
                if trained or stage not in ("train", "select"):
                    name = f"{stage}_{path}"
                    _write(
                        folder / "timings" / f"{name}.json",
                        {"stage": name, "wall_s": wall_s * random.uniform(0.6, 1.4)},
                    )
            hard = 0.05 if recipe == "replay" else 0.9
            tests = {"smoke": (episodes, rate, "official"), "smoke_exact": (5, rate, "official")}
            if wide:
                tests["smoke_wide"] = (episodes, rate * hard, "wide")
            for test, (number, share, kind) in tests.items():
                _write(
                    own / f"{test}.json", _test(own, test, ["libero_object"], 3, number, share, kind, alike)
                )
            _write(own / "suites.json", _test(own, "suites", SUITES, tasks, 5, rate * 0.7, "official", alike))
            if trained:
                _write(own / "train.json", _training(recipe, seed, rate))
                _write(own / "selected.json", _selected(rate))
            else:
                _write(
                    own / "selected.json",
                    {"selected_checkpoint": "last", "rule": "5 per task in turn", "candidates": []},
                )
            if videos and recipe != "replay":
                outcome = "success" if rate > 0.5 else "failure"
                _video(own / "videos" / "libero_object_0_official0_success.gif")
                _video(own / "videos" / f"libero_object_3_official1_{outcome}.gif")
    return folder


def _test(
    own: Path, name: str, suites: list[str], tasks: int, episodes: int, rate: float, kind: str, alike: bool
) -> dict[str, Any]:
    records, summary = [], {}
    for suite in suites:
        own_rate = min(1.0, rate * random.uniform(0.6, 1.15))
        by_task = {}
        for task in range(tasks):
            if alike:
                outcomes = [index < rate * episodes for index in range(episodes)]
            else:
                outcomes = [random.random() < own_rate for _ in range(episodes)]
            records += [
                {
                    "suite": suite,
                    "task_id": task,
                    "start_kind": kind,
                    "start_index": index,
                    "start_seed": index,
                    "success": success,
                    "env_steps": 100,
                    "wall_s": 2.0,
                    "video": None,
                }
                for index, success in enumerate(outcomes)
            ]
            by_task[str(task)] = {
                "language": SENTENCES[task % 3],
                "successes": sum(outcomes),
                "episodes": episodes,
            }
        successes, total = sum(task["successes"] for task in by_task.values()), tasks * episodes
        summary[suite] = {
            "successes": successes,
            "episodes": total,
            "success_rate": successes / total,
            "ci95": list(wilson_interval(successes, total)),
            "tasks": by_task,
        }
    own.mkdir(parents=True, exist_ok=True)
    (own / f"{name}_episodes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return {
        "protocol": _protocol(len(records), episodes, kind),
        "suites": summary,
        "average_success_rate": sum(suite["success_rate"] for suite in summary.values()) / len(summary),
        "episodes_file": f"{name}_episodes.jsonl",
        "wall_s": 100.0,
    }


def _protocol(total: int, per_task: int, kind: str) -> dict[str, Any]:
    return {
        "episodes": total,
        "starts": [kind],
        "episodes_per_task": per_task,
        "max_steps": 200,
        "fidelity": "fast",
        "image": "64x64, agentview",
        "control_mode": "relative",
        "sampler": "the policy's own, without exploration noise",
        "seed": 0,
    }


def _training(recipe: str, seed: int, rate: float) -> dict[str, Any]:
    curve = []
    for number in range(1, 300):
        share = number / 299
        success = 0.3 + (rate - 0.35) * (1 - (1 - share) ** 2) + random.uniform(-0.04, 0.04)
        curve.append(
            {
                "env_steps": number * 134,
                "episodes": number,
                "success_rate": min(1.0, max(0.0, success)),
                "wall_s": number * (5.0 + seed / 5),
            }
        )
    return {
        "recipe": recipe,
        "algorithm": "sac" if recipe == "sac" else "pi_rl",
        "variant": None,
        "policy": "xvla",
        "seed": seed,
        "env_steps": 40066,
        "episodes": 299,
        "updates": 24,
        "wall_s": 1495.0,
        "curve": curve,
        "timings_s": {
            "update": 320.0,
            "learner_idle": 1100.0,
            "actor_inference": 130.0,
            "actor_waiting_for_simulation": 900.0,
        },
        "metrics": [{"env_steps": 4000, "loss/policy": -0.01}],
    }


def _selected(rate: float) -> dict[str, Any]:
    candidates = [
        {
            "checkpoint": f"{steps:07d}",
            "env_steps": steps,
            "successes": successes,
            "episodes": 15,
            "success_rate": successes / 15,
        }
        for steps, successes in ((13000, 5), (26000, round(15 * rate)), (40066, 4))
    ]
    return {
        "selected_checkpoint": "0026000",
        "rule": "highest success rate; the latest among equals",
        "protocol": _protocol(15, 5, "sampled"),
        "candidates": candidates,
    }


def _video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.linear_gradient("L").rotate(15 * turn).resize((96, 96)) for turn in range(6)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=200, loop=0)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    import sys

    make_results(Path(sys.argv[1]), seeds=int(sys.argv[2]) if len(sys.argv) > 2 else 1)
