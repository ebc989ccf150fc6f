"""What one clone pushes with DVC, another pulls byte for byte, and Snakemake takes it for its own."""

import hashlib
from pathlib import Path

from tests.workflow.clones import commit, make_clone, run, snakemake, write_outputs


def digests(folder: Path) -> dict[str, str]:
    """Of every artefact, by path; left out are DVC's own ignore files, the machine's report, and what a warm
    start is made from where an experiment pretrains, which stays with its author."""
    files = [p for root in ("data", "results") for p in (folder / root).rglob("*") if p.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in (".gitignore", "doctor.json")
        and not {"pointing", "pretrain"} & set(path.relative_to(folder).parts)
    }


def test_pulled_artefacts_are_the_pushed_ones_and_leave_nothing_to_do(tmp_path):
    author, remote = make_clone(tmp_path / "author"), tmp_path / "remote"
    write_outputs(author, "default")
    run(author, "dvc", "remote", "add", "--default", "shelf", str(remote))
    run(author, "dvc", "commit", "--force")
    run(author, "dvc", "push")
    commit(author, "results")

    other = tmp_path / "other"
    run(tmp_path, "git", "clone", "--quiet", str(author), str(other))
    run(other, "dvc", "pull")
    assert digests(other) == digests(author)
    assert "up to date" in run(other, "dvc", "status")
    # The rest of `make pull`, with the machine's own check in place.
    (other / "results" / "default" / "doctor.json").write_text("{}")
    snakemake(other, "default", "--touch")
    assert "Nothing to be done" in snakemake(other, "default", "--dry-run")
