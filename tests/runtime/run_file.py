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
