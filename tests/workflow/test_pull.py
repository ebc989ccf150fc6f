"""What one clone pushes with DVC, another pulls byte for byte, and Snakemake takes it for its own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TRACKED = ("pirl", "workflow", "configs", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "Snakefile")
SNAKEMAKE = ["all", "--cores", "2", "--configfile", "configs/default.yaml"]


def run(folder: Path, program: str, *words: str) -> str:
    found = BIN / program
    command = [str(found) if found.exists() else program, *words]
    settings = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t"}
    settings |= {"GIT_COMMITTER_EMAIL": "t@t", "DVC_NO_ANALYTICS": "1"}
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | settings
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def digests(folder: Path) -> dict[str, str]:
    """Of every artefact, by path; DVC's own ignore files and the machine's report left out."""
    files = [p for root in ("data", "results") for p in (folder / root).rglob("*") if p.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in (".gitignore", "doctor.json")
    }


def test_pulled_artefacts_are_the_pushed_ones_and_leave_nothing_to_do(tmp_path):
    author, remote = tmp_path / "author", tmp_path / "remote"
    for name in TRACKED:
        (author / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, author / name)
    run(author, "git", "init", "--quiet")
    for number, line in enumerate(run(author, "snakemake", *SNAKEMAKE, "--summary").splitlines()[1:]):
        output = author / line.split("\t")[0]
        file = output if output.suffix else output / "file.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"noise": os.urandom(200).hex(), "number": number}))
    run(author, "dvc", "remote", "add", "--default", "shelf", str(remote))
    run(author, "dvc", "commit", "--force")
    run(author, "dvc", "push")
    run(author, "git", "add", "--all")
    run(author, "git", "commit", "--quiet", "--message", "results")

    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "--quiet", str(author), str(other))
    run(other, "dvc", "pull")
    assert digests(other) == digests(author)
    assert "up to date" in run(other, "dvc", "status")
    # The rest of `make pull`, with the machine's own check in place.
    (other / "results" / "default" / "doctor.json").write_text("{}")
    run(other, "snakemake", *SNAKEMAKE, "--touch")
    assert "Nothing to be done" in run(other, "snakemake", *SNAKEMAKE, "--dry-run")
