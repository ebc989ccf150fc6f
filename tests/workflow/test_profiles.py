"""Where jobs run and what they ask for: dry runs with each profile."""

import re
from pathlib import Path

import pytest
import yaml

from tests.workflow.clones import ROOT, make_clone, run

RECIPES = ("pi_rl_flow_sde", "pi_rl_flow_noise", "sac")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_clone(tmp_path_factory.mktemp("project"))


def dry_run(project: Path, *flags: str) -> str:
    """What a dry run says, in full."""
    return run(project, "sh", "-c", f"snakemake --dry-run {' '.join(flags)} 2>&1")


def job(listing: str, rule: str) -> str:
    """The listing's first job of a rule."""
    return re.search(rf"^(?:local)?rule {rule}:\n(?: .*\n)+", listing, re.M)[0]


def test_the_default_profile_needs_no_flag(project):
    assert "workflow specific profile profiles/default" in dry_run(project, "--cores 2")


def test_a_policy_on_cuda_asks_for_a_gpu(project):
    settings = yaml.safe_load((project / "configs" / "smoke.yaml").read_text())
    assert "gpu=0" in job(dry_run(project, "--cores 2 --configfile configs/smoke.yaml"), "train")
    settings["train"]["policy"] = {"device": "cuda"}
    (project / "configs" / "gpu.yaml").write_text(yaml.safe_dump(settings))
    listing = dry_run(project, "--cores 2 --configfile configs/gpu.yaml")
    for rule in ("warm_start", "train", "select", "smoke_eval", "suite_eval"):
        assert "gpu=1" in job(listing, rule)
    for rule in ("doctor", "demos", "report"):
        assert "gpu=" not in job(listing, rule)


def test_make_slurm_gives_a_recipe_one_large_job(project):
    (flags,) = re.findall(r"snakemake (.*profiles/slurm.*)", (ROOT / "Makefile").read_text())
    train = job(dry_run(project, flags.replace("$(CONFIG)", "configs/smoke.yaml")), "train")
    assert "threads: 8" in train
    assert re.search(r"runtime=1440, .*mem_mb=32000", train)


def test_the_kubernetes_job_runs_this_workflow_and_keeps_its_state(project):
    claim, manifest = yaml.safe_load_all((project / "workflow/profiles/kubernetes/job.yaml").read_text())
    pod = manifest["spec"]["template"]["spec"]
    (container,), (volume,) = pod["containers"], pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    kept = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume["name"]}
    assert kept == {f"/pirl/{folder}" for folder in ("data/demos", "runs", "results", ".snakemake")}
    program, *flags = container["command"]
    assert program == "snakemake"
    listing = dry_run(project, *flags)
    assert set(RECIPES) <= set(re.findall(r"recipe=(\w+)", listing))
    cores = yaml.safe_load((project / "workflow/profiles/kubernetes/config.yaml").read_text())["cores"]
    assert container["resources"]["requests"]["cpu"] == cores
