"""From an experiment to the run configuration of one recipe, as `pirl-learner` and `pirl-actor` read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PI_RL_VARIANTS = {"pi_rl_flow_sde": "flow_sde", "pi_rl_flow_noise": "flow_noise"}
WARM_START = "warm_start"
REPLAY = "replay"
# Training starts of one seed never reach those of the next.
STARTS_PER_SEED = 1_000_000
SAC_POLICY = "gaussian_actor"
LIBERO_STATE_DIM = 8
LIBERO_ACTION_DIM = 7
# LeRobot's gaussian_actor decides at every control step, so that lerobot-eval runs it unchanged.
SAC_CHUNK_SIZE = 1


def split_seed(name: str) -> tuple[str, int | None]:
    """`sac/seed_1` is recipe `sac` with seed 1; `sac` alone has the experiment's seed (None)."""
    recipe, _, seed = name.partition("/seed_")
    return recipe, int(seed) if seed else None


def with_seed(experiment: dict[str, Any], seed: int | None) -> dict[str, Any]:
    """The experiment as it is trained with another seed: same data, other starts; None: its own seed."""
    if seed is None:
        return experiment
    further = seed - experiment["seed"]
    train = experiment["train"]
    train = {**train, "seed_base": train["seed_base"] + further * STARTS_PER_SEED}
    return {**experiment, "seed": seed, "train": train}


def policy_type(experiment: dict[str, Any]) -> str:
    """LeRobot's type of the flow policy."""
    return str(experiment["policy"]["settings"].get("type", "xvla"))


def demonstration_layout(experiment: dict[str, Any]) -> str:
    """Layout of the data set that the flow policy is cloned from: XVLA's own, or LIBERO's."""
    return "xvla" if policy_type(experiment) == "xvla" else "libero"


def control_mode(experiment: dict[str, Any], acting: str) -> str:
    """How the actions of a policy of type `acting` move the arm: SAC's squashed ones can only be steps, the
    others' are the simulation's choice."""
    return "relative" if acting == SAC_POLICY else experiment["simulation"]["control_mode"]


def environment_settings(experiment: dict[str, Any], acting: str) -> dict[str, Any]:
    """LeRobot's `env` section for the trained suite."""
    simulation = experiment["simulation"]
    return {
        "type": "libero",
        "task": experiment["suite"],
        "camera_name": ",".join(f"{camera}_image" for camera in simulation["cameras"]),
        "observation_height": simulation["height"],
        "observation_width": simulation["width"],
        "control_mode": control_mode(experiment, acting),
    }


def run_settings(
    experiment: dict[str, Any], recipe: str, *, warm_start: Path, demonstrations: Path, output_dir: Path
) -> dict[str, Any]:
    """The JSON that `--config_path` of learner and actor takes.

    Args:
        experiment: a complete experiment.
        recipe: `pi_rl_flow_sde`, `pi_rl_flow_noise` or `sac`.
        warm_start: folder of the warm-started policy.
        demonstrations: LeRobotDataset in LIBERO's layout.
        output_dir: where checkpoints, logs and histories go.
    """
    train, simulation = experiment["train"], experiment["simulation"]
    acting = SAC_POLICY if recipe == "sac" else policy_type(experiment)
    settings: dict[str, Any] = {
        "recipe": recipe,
        "output_dir": str(output_dir),
        "seed": experiment["seed"],
        "env": environment_settings(experiment, acting),
        "actors": train["actors"],
        "learner_processes": 1 if recipe == "sac" else train["learner_processes"],
        "learner_sharding": recipe != "sac" and train["learner_sharding"],
        "tracking_run": experiment["run"],
        "rollout": {
            "task_ids": experiment["task_ids"],
            "starts": train["starts"],
            "seed_base": train["seed_base"],
            "episodes_per_start": 1 if recipe == "sac" else train["episodes_per_start"],
            "chunk_size": SAC_CHUNK_SIZE if recipe == "sac" else simulation["chunk_size"],
            "max_steps": simulation["max_steps"],
            "fidelity": simulation["train_fidelity"],
            "workers": simulation["workers"],
            "synchronous": train["synchronous"] and recipe != "sac",
        },
        "budget": {key: train[key] for key in ("env_steps", "stop_at_success", "checkpoints")},
        "buffer": train["buffer"],
    }
    if recipe == "sac":
        return settings | _sac_settings(experiment, demonstrations)
    variant = PI_RL_VARIANTS[recipe]
    return settings | {
        "policy": {"path": str(warm_start), **train["policy"]},
        "peft": train["peft"],
        "algorithm": {"type": "pi_rl", "variant": variant, **train["pi_rl"], **train[variant]},
        "online_ratio": 1.0,
    }


def _sac_settings(experiment: dict[str, Any], demonstrations: Path) -> dict[str, Any]:
    sac, simulation = experiment["train"]["sac"], experiment["simulation"]
    images = {"agentview": "observation.images.image", "robot0_eye_in_hand": "observation.images.image2"}
    shape = [3, simulation["height"], simulation["width"]]
    features = {images[camera]: {"type": "VISUAL", "shape": shape} for camera in simulation["cameras"]}
    features["observation.state"] = {"type": "STATE", "shape": [LIBERO_STATE_DIM]}
    action = {"type": "ACTION", "shape": [SAC_CHUNK_SIZE * LIBERO_ACTION_DIM]}
    policy = {
        "type": SAC_POLICY,
        "device": "cpu",
        "push_to_hub": False,
        "input_features": features,
        "output_features": {"action": action},
        "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "IDENTITY"},
        **sac["policy"],
    }
    return {
        "policy": policy,
        "algorithm": {"type": "sac", **sac["algorithm"]},
        "batch_size": sac["batch_size"],
        "online_ratio": sac["online_ratio"],
        "demonstrations": str(demonstrations),
        "buffer": {
            **experiment["train"]["buffer"],
            "updates_per_transition": sac["updates_per_transition"],
            "learning_starts": sac["learning_starts"],
        },
    }
