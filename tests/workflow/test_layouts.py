"""The DAG follows the policy: what it is cloned from, and what its file inherits."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def planned(folder: Path, config: str, target: str) -> str:
    """A dry run in a folder that looks like the project."""
    for name in ("pirl", "workflow", "configs", "Snakefile"):
        (folder / name).symlink_to(ROOT / name)
    command = [str(Path(sys.executable).with_name("snakemake")), "--configfile", config, "--cores", "1"]
    command += ["--dry-run", target]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("name", "layout"), [("xvla", "xvla"), ("smolvla", "libero")])
def test_a_policy_is_cloned_from_its_layout(tmp_path, name, layout):
    plan = planned(tmp_path, f"configs/tiny/{name}.yaml", f"results/{name}/warm_start/policy")
    (inputs,) = [rule for rule in plan.split("rule ") if rule.startswith("warm_start:")]
    assert f"data/demos/{name}/{layout}," in inputs


def test_a_base_decides_the_recipes_of_the_dag(tmp_path):
    plan = planned(tmp_path, "configs/tiny/smolvla.yaml", "all")
    assert "results/smolvla/pi_rl_flow_noise/train.json" in plan
    assert "results/smolvla/sac/train.json" not in plan
