"""The whole pipeline through `workflow/profiles/slurm`, on a real Slurm of one node."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.clones import make_clone, run, write_tiny_config
from tests.workflow.one_node_slurm import missing_programs, one_node_slurm

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(bool(missing_programs()), reason="needs Slurm: apt-get install slurm-wlm munge"),
]

PROFILE = ["--workflow-profile", "workflow/profiles/slurm"]
# The node keeps no accounts, and its jobs are short.
PROFILE += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"]
JOBS = {"doctor": 1, "demos": 1, "replay": 1, "pointing": 1, "pretrain": 1, "warm_start": 1}
JOBS |= {"train": 3, "select": 3, "report": 1}
# The floor, the warm start and three recipes.
JOBS |= {"smoke_eval": 5, "wide_eval": 5, "exact_eval": 5, "suite_eval": 5}


@pytest.fixture
def slurm() -> Iterator[dict[str, str]]:
    """The variables of a cluster; its socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, one_node_slurm(Path(folder)) as variables:
        yield variables


@pytest.mark.parametrize("config", ["tiny", "smoke"])
def test_every_rule_is_a_job(tmp_path, slurm, config):
    folder = make_clone(tmp_path / "project")
    write_tiny_config(folder)
    run(folder, "snakemake", "all", *PROFILE, "--configfile", f"configs/{config}.yaml", **slurm)

    listed = run(folder, "squeue", "--states=all", "--noheader", "--format=%k|%T|%C|%m|%D", **slurm)
    jobs = [line.split("|") for line in listed.splitlines()]
    assert {state for _, state, *_ in jobs} == {"COMPLETED"}
    rules = [comment.removeprefix("rule_").split("_wildcards_")[0] for comment, *_ in jobs]
    assert Counter(rules) == JOBS
    # Learner and actors of a recipe: one job on one node.
    trainings = [job[2:] for rule, job in zip(rules, jobs, strict=True) if rule == "train"]
    assert trainings == [["8", "32000M", "1"]] * 3

    report = json.loads((folder / "results" / config / "report.json").read_text())
    assert set(report["recipes"]) == {"warm_start", "pi_rl_flow_sde", "pi_rl_flow_noise", "sac"}
