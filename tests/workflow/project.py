"""A copy of the project whose smoke pipeline looks as if it had just been run."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "all", "--cores", "2"]
SNAKEMAKE += ["--configfile", "configs/smoke.yaml"]


def snakemake(project: Path, *flags: str) -> str:
    """What the command prints."""
    result = subprocess.run([*SNAKEMAKE, *flags], cwd=project, capture_output=True, text=True, check=True)
    return result.stdout


def finished_project(folder: Path) -> Path:
    """Copy code and configs into `folder`, with every output of the smoke pipeline in place, but empty."""
    for name in ("pirl", "workflow", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    for line in snakemake(folder, "--summary").splitlines()[1:]:
        output = folder / line.split("\t")[0]
        file = output if output.suffix else output / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    snakemake(folder, "--touch")
    return folder
