"""Two front doors, one real pipeline: what one has made, the other takes over; experiments do as they say."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.clones import commit, make_clone, outputs, run, snakemake, write_tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RECIPES = ["pi_rl_flow_noise", "pi_rl_flow_sde", "sac"]
POLICIES = [*RECIPES, "replay", "warm_start"]
RESULTS = "results/tiny"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A fresh clone in which `dvc repro` has run."""
    folder = make_clone(tmp_path_factory.mktemp("project"))
    write_tiny_config(folder)
    run(folder, "dvc", "repro")
    commit(folder, "first results")
    return folder


def times(folder: Path) -> dict[str, int]:
    """Of last modification, of every artefact."""
    return {name: (folder / name).stat().st_mtime_ns for name in outputs(folder, "tiny")}


def assert_both_are_content(folder: Path) -> None:
    assert "Nothing to be done" in snakemake(folder, "tiny", "--dry-run")
    assert "up to date" in run(folder, "dvc", "status")


def test_repro_makes_all_that_snakemake_makes(project):
    assert_both_are_content(project)
    before = times(project)
    run(project, "dvc", "repro")
    assert times(project) == before


def test_repro_takes_over_what_snakemake_has_made(project):
    (project / "dvc.lock").unlink()
    shutil.rmtree(project / ".dvc" / "cache")
    before = times(project)
    run(project, "dvc", "repro")
    assert times(project) == before
    assert_both_are_content(project)
    assert run(project, "git", "status", "--porcelain") == ""


def test_an_experiment_trains_anew_and_is_compared_by_recipe(project):
    before = times(project)
    run(project, "dvc", "exp", "run", "--name", "longer", "-S", "configs/tiny.yaml:train.env_steps=64")
    assert_both_are_content(project)
    kept = {name for name, time in times(project).items() if time == before[name]}
    untouched = ("data/demos", f"{RESULTS}/doctor", f"{RESULTS}/replay", f"{RESULTS}/warm_start")
    assert kept == {
        name for name in before if name.startswith(untouched) and not name.endswith("metrics.json")
    }
    assert yaml.safe_load((project / "configs" / "tiny.yaml").read_text())["train"]["env_steps"] == 64
    for recipe in RECIPES:
        folder = project / "runs" / "tiny" / recipe
        assert json.loads((project / RESULTS / recipe / "train.json").read_text())["env_steps"] == 64
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"000064", "last"}

    table = json.loads(run(project, "dvc", "metrics", "diff", "HEAD", "longer", "--json"))
    for recipe in RECIPES:
        steps = table[f"{RESULTS}/{recipe}/metrics.json"]["train.env_steps"]
        assert (steps["old"], steps["new"]) == (32, 64)

    plots = json.loads(run(project, "dvc", "plots", "diff", "HEAD", "longer", "--json"))["data"]
    points = [point for plot in plots["success_env_steps"] for point in plot["content"]["data"]["values"]]
    lines = {(point["rev"], Path(point["filename"]).parent.name) for point in points}
    assert lines == {(revision, recipe) for revision in ("HEAD", "longer") for recipe in RECIPES}


def test_metrics_stand_side_by_side(project):
    (shown,) = json.loads(run(project, "dvc", "metrics", "show", "--json")).values()
    assert {Path(path).parent.name for path in shown["data"]} == set(POLICIES)
    names = {frozenset(numbers["data"]["eval"]) for numbers in shown["data"].values()}
    assert names == {frozenset(("smoke", "smoke_wide", "libero_object", "average"))}
