"""A clone of the project as a user has one: a git repository with the real workflow and nothing made yet."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TRACKED = ("pirl", "workflow", "profiles", "configs", "params.yaml", "dvc.yaml", "Snakefile")
TRACKED += (".dvc/config", ".dvcignore", ".gitignore")
SETTINGS = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": ".",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@t",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@t",
    "DVC_NO_ANALYTICS": "1",
}


def run(folder: Path, *command: str, **variables: str) -> str:
    """Run a program of the environment in `folder`; its standard output."""
    settings = os.environ | SETTINGS | variables
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=settings)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def make_clone(folder: Path) -> Path:
    """The project's tracked files in a git repository of their own, nothing committed."""
    for name in TRACKED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    return folder


def snakemake(folder: Path, config: str, *flags: str) -> str:
    """The whole pipeline of `configs/<config>.yaml`."""
    return run(folder, "snakemake", "all", "--cores", "2", "--configfile", f"configs/{config}.yaml", *flags)


def outputs(folder: Path, config: str) -> list[str]:
    """Paths of all files and folders that the pipeline makes."""
    return [line.split("\t")[0] for line in snakemake(folder, config, "--summary").splitlines()[1:]]


def write_outputs(folder: Path, config: str) -> None:
    """A file with contents of its own in the place of every output, as if the pipeline had run."""
    for name in outputs(folder, config):
        output = folder / name
        file = output if output.suffix else output / "file.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"noise": os.urandom(200).hex(), "name": name}))


def commit(folder: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def write_tiny_config(folder: Path) -> None:
    """`configs/tiny.yaml`: the smoke experiment with every count at its least; all stages stay real."""
    settings = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())
    settings["simulation"]["max_steps"] = 16
    settings["demos"]["episodes_per_task"] = 1
    settings["warm_start"] |= {"steps": 4, "batch_size": 4}
    settings["train"]["env_steps"] = 32
    settings["train"]["pi_rl"] |= {"episodes_per_update": 2, "epochs": 1}
    settings["train"]["sac"] |= {"batch_size": 8, "learning_starts": 8}
    settings["smoke_eval"]["episodes_per_task"] = 1
    settings["suite_eval"]["suites"] = ["libero_object"]
    settings["evaluation"] = {"max_steps": 8, "videos": 0}
    (folder / "configs" / "tiny.yaml").write_text(yaml.safe_dump(settings))
    (folder / "params.yaml").write_text("run: tiny\n")
