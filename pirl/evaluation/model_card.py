"""The README.md of a selected policy: what it is, how it was chosen, how to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from pirl.evaluation.selection import Candidate
from pirl.evaluation.statistics import wilson_interval
from pirl.experiment.recipes import control_mode
from pirl.files import write_text_atomically
from pirl.tracking.revision import config_hash, git_sha

CARD_FILE = "README.md"
ALGORITHMS = {
    "sac": "SAC (LeRobot), with the same demonstrations offline",
    "pi_rl_flow_sde": "PI-RL, Flow-SDE (PPO on the flow's denoising chain)",
    "pi_rl_flow_noise": "PI-RL, Flow-Noise (PPO on the flow's denoising chain)",
}


def write_model_card(
    folder: Path, experiment: dict[str, Any], recipe: str, policy_type: str, chosen: Candidate
) -> Path:
    """Write the card into a policy's folder.

    Args:
        folder: a flat LeRobot policy folder.
        experiment: a complete experiment.
        recipe: `pi_rl_flow_sde`, `pi_rl_flow_noise` or `sac`.
        policy_type: LeRobot's policy type.
        chosen: the selected checkpoint and its counts on the selection starts.
    """
    low, high = wilson_interval(chosen.successes, chosen.episodes)
    select, simulation = experiment["select"], experiment["simulation"]
    tasks = ", ".join(str(task_id) for task_id in experiment["task_ids"])
    metadata = ModelCardData(
        library_name="lerobot",
        pipeline_tag="robotics",
        license="apache-2.0",
        tags=["robotics", "lerobot", "libero", policy_type, recipe],
    ).to_yaml()
    facts = {
        "Algorithm": ALGORITHMS[recipe],
        "Base": f"`{experiment['policy']['path'] or 'trained from scratch'}`",
        "Trained on": f"{experiment['suite']}, tasks {tasks}, {experiment['train']['starts']} starts",
        "Environment steps": f"{chosen.env_steps} of {experiment['train']['env_steps']}",
        "Selection": f"{chosen.successes} of {chosen.episodes} episodes succeeded "
        f"({chosen.success_rate:.0%}, Wilson 95 % interval {low:.0%} to {high:.0%}), "
        f"{select['starts']} starts of tasks {tasks}, seeds from {select['seed_base']}; "
        "no test, and the best of several: it flatters",
        "Seed": str(experiment["seed"]),
        "Cameras": f"{', '.join(simulation['cameras'])}, {simulation['width']}x{simulation['height']} pixels",
        "Control": f"OSC_POSE {control_mode(experiment, policy_type)}",
        "Commit": f"`{git_sha()}`",
        "Settings": f"`{config_hash(experiment)}`",
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    text = f"""---
{metadata}
---

# {policy_type} on {experiment["suite"]}, {recipe}

| | |
| --- | --- |
{rows}

```
lerobot-eval --policy.path=<this folder> --env.type=libero --env.task={experiment["suite"]} \\
    --env.task_ids='[{tasks}]' --env.control_mode={control_mode(experiment, policy_type)} \\
    --env.observation_height={simulation["height"]} --env.observation_width={simulation["width"]} \\
    --eval.batch_size=1 --eval.n_episodes=10
```
"""
    path = Path(folder) / CARD_FILE
    write_text_atomically(path, text)
    return path
