"""The run file of a tiny PI-RL training."""

import json
from pathlib import Path


def write_run(path: Path, output_dir: Path, policy: Path, algorithm: dict, **settings) -> Path:
    """Write a run of `tests.policies.tiny`'s XVLA with PI-RL; returns the path of the file."""
    run = {
        "output_dir": str(output_dir),
        "env": {"type": "libero", "observation_height": 32, "observation_width": 32},
        "rollout": {"chunk_size": 4},
        "policy": {"path": str(policy)},
        "algorithm": {"type": "pi_rl", "episodes_per_update": 4, **algorithm},
        "budget": {"env_steps": 1000},
    }
    path.write_text(json.dumps(run | settings))
    return path


def write_sac_run(path: Path, output_dir: Path, **settings) -> Path:
    """Write a run of LeRobot's SAC with pictures of 64 pixels, no demonstrations; returns the path."""
    images = {"type": "VISUAL", "shape": [3, 64, 64]}
    run = {
        "recipe": "sac",
        "output_dir": str(output_dir),
        "env": {"type": "libero", "observation_height": 64, "observation_width": 64},
        "rollout": {"chunk_size": 1},
        "policy": {
            "type": "gaussian_actor",
            "device": "cpu",
            "push_to_hub": False,
            "input_features": {
                "observation.images.image": images,
                "observation.images.image2": images,
                "observation.state": {"type": "STATE", "shape": [8]},
            },
            "output_features": {"action": {"type": "ACTION", "shape": [7]}},
            "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "IDENTITY", "ACTION": "IDENTITY"},
        },
        "algorithm": {"type": "sac"},
        "batch_size": 4,
        "buffer": {"online_capacity": 100, "learning_starts": 4, "updates_per_transition": 0.5},
        "budget": {"env_steps": 12, "checkpoints": 1},
    }
    path.write_text(json.dumps(run | settings))
    return path
