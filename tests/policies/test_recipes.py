"""Recipes for real VLAs at a tiny size: a checkpoint, loaded by path, one update, stock evaluation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from pirl.experiment.config import load_experiment
from pirl.experiment.recipes import demonstration_layout
from pirl.policies.tokenizer import TOKENIZER_DIR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

ROOT = Path(__file__).parents[2]
TINY_GEMMA = Path(__file__).parent / "tiny_gemma"
PALIGEMMA = "models--google--paligemma-3b-pt-224"
REVISION = 40 * "0"
RECIPE = "pi_rl_flow_sde"
LORA = {"method_type": "LORA", "r": 4}


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory) -> Path:
    """A hub cache whose PaliGemma tokenizer is this project's: LeRobot takes it by its hub name."""
    home = tmp_path_factory.mktemp("hub")
    snapshot = home / "hub" / PALIGEMMA / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER_DIR / name, snapshot)
    (snapshot / "config.json").write_text('{"model_type": "paligemma"}')
    (home / "hub" / PALIGEMMA / "refs").mkdir()
    (home / "hub" / PALIGEMMA / "refs" / "main").write_text(REVISION)
    return home


@pytest.fixture(scope="module")
def project(tmp_path_factory, hub_cache) -> Project:
    """A folder that looks like the project, with demonstrations for all four recipes."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pirl", "workflow", "configs"):
        (folder / name).symlink_to(ROOT / name)
    project = Project(folder, hub_cache)
    project.stage("demos", config="configs/tiny/xvla.yaml", output="demos")
    return project


@dataclass
class Project:
    """Runs commands in a folder, without the hub, with the sizes of `tiny_gemma`."""

    folder: Path
    hub_cache: Path

    def stage(self, name: str, **flags: object) -> None:
        """Run a stage script."""
        self.run(f"workflow/scripts/{name}.py", flags)

    def run(self, command: str, flags: dict[str, object]) -> None:
        """Run a Python script or module."""
        settings = {"PYTHONPATH": str(TINY_GEMMA), "HF_HOME": str(self.hub_cache), "HF_HUB_OFFLINE": "1"}
        words = [f"--{key}={value}" for key, value in flags.items()]
        result = subprocess.run(
            [sys.executable, *command.split(), *words],
            cwd=self.folder,
            env=os.environ | settings,
            text=True,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-4000:]}\n{result.stderr[-6000:]}"


@pytest.mark.parametrize(
    ("name", "adapter"), [("xvla", None), ("smolvla", None), ("smolvla", LORA), ("pi0", None), ("pi05", None)]
)
def test_a_tiny_recipe_from_checkpoint_to_stock_evaluation(name, adapter, project):
    tiny, real = f"configs/tiny/{name}.yaml", load_experiment(ROOT / "configs" / f"{name}_libero.yaml")
    dataset = f"demos/{demonstration_layout(real)}"
    checkpoint = project.folder / "results" / name / "warm_start" / "policy"
    if not checkpoint.is_dir():
        project.stage("warm_start", config=tiny, dataset=dataset)

    run = f"{name}_{'adapter' if adapter else 'whole'}"
    results = project.folder / "results" / run
    changes = {
        "base": tiny,
        "policy": {"path": str(checkpoint)},
        "warm_start": {"steps": real["warm_start"]["steps"]},
        "train": {"peft": adapter},
    }
    (project.folder / f"{run}.yaml").write_text(yaml.safe_dump(changes))
    common = {"config": f"{run}.yaml", "recipe": RECIPE}
    project.stage("warm_start", config=f"{run}.yaml", dataset=dataset)
    start = results / "warm_start" / "policy"
    project.stage("train", **common, demonstrations="demos/libero", **{"warm-start": start})
    project.stage("select_checkpoint", **common, **{"run-dir": f"runs/{run}/{RECIPE}"})
    policy = results / RECIPE / "policy"

    summary = json.loads((results / RECIPE / "train.json").read_text())
    assert (summary["updates"], summary["env_steps"]) == (1, 80)
    config = json.loads((policy / "config.json").read_text())
    assert config["type"] == name
    assert config["n_action_steps"] == real["simulation"]["chunk_size"]
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, policy))
    assert before.keys() == after.keys()
    changed = [key for key in before if not before[key].equal(after[key])]
    assert changed, "the update moved no weight"
    assert not [key for key in changed if ".vlm." in key or ".paligemma." in key], "the encoder is frozen"
    trained = project.folder / "runs" / run / RECIPE / "checkpoints" / "last" / "pretrained_model"
    assert (trained / "adapter_model.safetensors").is_file() == (adapter is not None)

    flags = {
        "policy.path": policy,
        "policy.device": "cpu",
        "env.type": "libero",
        "env.task": "libero_object",
        "env.task_ids": "[0]",
        "env.episode_length": 15,
        "env.control_mode": real["simulation"]["control_mode"],
        "eval.n_episodes": 1,
        "eval.batch_size": 1,
        "output_dir": project.folder / "stock" / run,
    }
    project.run("-m pirl.stock lerobot-eval", flags)
    stock = json.loads((project.folder / "stock" / run / "eval_info.json").read_text())
    assert stock["overall"]["n_episodes"] == 1
