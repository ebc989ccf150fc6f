"""A changed module re-runs the stages that use it, and no other; DVC watches the same (test_dvc.py)."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "all", "--cores", "2"]
SNAKEMAKE += ["--configfile", "configs/smoke.yaml"]
TESTS = {"smoke_eval", "exact_eval", "suite_eval", "report"}
AFTER_TRAINING = {"select", *TESTS}
EVERYTHING = {"demos", "replay", "warm_start", "train", *AFTER_TRAINING}


def snakemake(project: Path, *flags: str) -> str:
    result = subprocess.run([*SNAKEMAKE, *flags], cwd=project, capture_output=True, text=True, check=True)
    return result.stdout


def planned(project: Path) -> set[str]:
    """Rules of the jobs that a dry run lists."""
    found = re.search(r"^job +count\n[- ]+\n(.*?)^total", snakemake(project, "--dry-run"), re.M | re.S)
    return {line.split()[0] for line in found[1].splitlines()} - {"all"} if found else set()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project, with every output of the smoke pipeline in place as if it had just been run."""
    folder = tmp_path_factory.mktemp("project")
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


def test_nothing_is_left_to_do(project):
    assert planned(project) == set()


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("pirl/benchmarks/env.py", set()),
        ("pirl/reporting/page.py", {"report"}),
        ("pirl/evaluation/statistics.py", AFTER_TRAINING),
        ("pirl/runtime/learner.py", {"train", *AFTER_TRAINING}),
        ("pirl/algorithms/pi_rl/losses.py", {"train", *AFTER_TRAINING}),
        ("pirl/flow/chain.py", {"train", *AFTER_TRAINING}),
        ("pirl/policies/xvla.py", EVERYTHING - {"demos", "replay"}),
        ("pirl/evaluation/replay.py", {"replay", *AFTER_TRAINING}),
        ("pirl/envs/osc.py", EVERYTHING),
        ("pirl/demonstrations/layouts.py", EVERYTHING),
        ("pirl/experiment/config.py", EVERYTHING),
        ("workflow/scripts/report.py", {"report"}),
    ],
)
def test_a_changed_module_reruns_what_uses_it(project, module, rules):
    path = project / module
    shutil.copy2(path, path.with_suffix(".before"))
    with open(path, "a") as file:
        file.write("# changed\n")
    try:
        assert planned(project) == rules
    finally:
        path.with_suffix(".before").replace(path)


def test_further_seeds_are_trained_selected_and_tested_in_folders_of_their_own(project):
    flags = ["--config", "train={seeds: 3, recipes: [sac]}", "--dry-run", "--forceall"]
    counts = dict(re.findall(r"^(\w+) +(\d+)$", snakemake(project, *flags), re.M))
    assert (counts["train"], counts["select"]) == ("3", "3")
    assert counts["suite_eval"] == "5"  # and replay, and the warm start
    assert "results/smoke/sac/seed_2/suites.json" in snakemake(project, *flags)
