"""A changed module re-runs the stages that use it, and no other; DVC watches the same (test_dvc.py)."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.clones import make_clone, snakemake, write_outputs

TESTS = {"smoke_eval", "wide_eval", "exact_eval", "suite_eval", "report"}
AFTER_TRAINING = {"select", *TESTS}
EVERYTHING = {"demos", "replay", "pointing", "pretrain", "warm_start", "train", *AFTER_TRAINING}


def planned(project: Path) -> set[str]:
    """Rules of the jobs that a dry run lists."""
    found = re.search(
        r"^job +count\n[- ]+\n(.*?)^total", snakemake(project, "smoke", "--dry-run"), re.M | re.S
    )
    return {line.split()[0] for line in found[1].splitlines()} - {"all"} if found else set()


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
        ("pirl/policies/xvla.py", EVERYTHING - {"demos", "replay", "pointing"}),
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
    experiment = yaml.safe_load((project / "configs" / "smoke.yaml").read_text())
    experiment["train"] |= {"seeds": 3, "recipes": ["sac"]}
    (project / "configs" / "seeds.yaml").write_text(yaml.safe_dump(experiment))
    plan = snakemake(project, "seeds", "--dry-run")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", plan, re.M))
    assert (counts["train"], counts["select"]) == ("3", "3")
    assert counts["suite_eval"] == "5"  # and replay, and the warm start
    assert "results/seeds/sac/seed_2/suites.json" in plan


def test_a_setting_of_one_recipe_trains_that_one_anew(tmp_path):
    project = make_clone(tmp_path)
    write_outputs(project, "smoke")
    snakemake(project, "smoke", "--touch")
    trainings = {
        f"results/smoke/{recipe}/train.json" for recipe in ("sac", "pi_rl_flow_sde", "pi_rl_flow_noise")
    }
    for training in trainings:
        (project / training).unlink()
    # Snakemake knows the settings of what it has run.
    (project / "workflow/scripts/train.py").write_text(
        "import pathlib, sys\n"
        "recipe = sys.argv[sys.argv.index('--recipe') + 1]\n"
        "pathlib.Path(f'results/smoke/{recipe}/train.json').write_text('{}')\n"
    )
    snakemake(project, "smoke", "--until", "train")
    config = project / "configs" / "smoke.yaml"
    original = yaml.safe_load(config.read_text())
    for section, setting, changed in (
        ("sac", {"batch_size": 7}, {"sac"}),
        ("flow_noise", {"noise_std_max": 0.3}, {"pi_rl_flow_noise"}),
        ("pi_rl", {"gamma": 0.5}, {"pi_rl_flow_sde", "pi_rl_flow_noise"}),
    ):
        train = original["train"] | {section: original["train"].get(section, {}) | setting}
        config.write_text(yaml.safe_dump(original | {"train": train}, sort_keys=False))
        plan = snakemake(project, "smoke", "--dry-run", "--until", "train")
        assert {training for training in trainings if f"output: {training}" in plan} == {
            f"results/smoke/{recipe}/train.json" for recipe in changed
        }
