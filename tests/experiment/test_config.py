"""Experiments: shipped files are valid, defaults are complete, mistakes are named."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.experiment.config import PROJECT_ROOT, SCHEMA_PATH, ExperimentError, load_experiment
from pirl.experiment.recipes import run_settings

SHIPPED = sorted((PROJECT_ROOT / "configs").rglob("*.yaml"))
TINY = sorted((PROJECT_ROOT / "configs" / "tiny").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_are_valid(path):
    experiment = load_experiment(path)
    assert experiment["run"] == path.stem
    for recipe in experiment["train"]["recipes"]:
        settings = run_settings(
            experiment, recipe, warm_start=Path("w"), demonstrations=Path("d"), output_dir=Path("o")
        )
        algorithm = settings["algorithm"]
        assert algorithm.pop("type") == ("sac" if recipe == "sac" else "pi_rl")
        if recipe != "sac":
            PiRLConfig(**algorithm)  # refuses what does not go together


def test_an_empty_file_is_all_defaults(tmp_path):
    experiment = load_experiment(write(tmp_path, ""))
    assert experiment["train"]["sac"]["online_ratio"] == 0.5
    assert experiment["simulation"]["chunk_size"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {}", "mine.yaml: unknown key 'trian'; known keys: base, demos, "),
        ("train: {env_stepz: 3}", "mine.yaml: train: unknown key 'env_stepz'"),
        ("train: {env_steps: many}", "train.env_steps: 'many' is not of type 'integer'"),
        ("suite: libero_11", "suite: 'libero_11' is not one of"),
        ("train: {starts: official}", "train.starts: 'official' is not one of"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(tmp_path, text))
    assert message in str(caught.value)


def test_a_base_holds_where_the_file_names_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path, "seed: 3\nsuite: libero_goal\ntrain: {env_steps: 7, pi_rl: {clip: 0.1, epochs: 2}}\n")
    middle = tmp_path / "sub" / "middle.yaml"
    middle.write_text("base: ../mine.yaml\ntask_ids: [1]\n")
    top = tmp_path / "sub" / "top.yaml"
    top.write_text("base: middle.yaml\nseed: 4\ntrain: {pi_rl: {epochs: 5}}\n")
    experiment = load_experiment(top)
    assert (experiment["run"], experiment["seed"], experiment["suite"]) == ("top", 4, "libero_goal")
    assert experiment["task_ids"] == [1]
    assert experiment["train"]["env_steps"] == 7
    assert experiment["train"]["pi_rl"] == {"clip": 0.1, "epochs": 5}


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere.yaml", r"nowhere\.yaml: no such file, the base of .*mine\.yaml"),
        ("mine.yaml", r"mine\.yaml: base: .*mine\.yaml inherits from this file"),
        ("3", r"base: 3 is not of type"),
    ],
)
def test_a_wrong_base_is_named(tmp_path, base, message):
    with pytest.raises(ExperimentError, match=message):
        load_experiment(write(tmp_path, f"base: {base}\n"))


def test_an_experiment_printed_in_full_is_the_same_experiment(tmp_path):
    path = TINY[0]
    command = [sys.executable, "-m", "pirl.experiment", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "base: null" in text
    full = load_experiment(write(tmp_path, text))
    assert full == load_experiment(path) | {"run": "mine"}


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_a_tiny_recipe_changes_the_architecture_and_the_amount_only(path):
    """Method, simulator as the policy sees it, and everything learned by are the recipe's."""
    tiny, real = (
        load_experiment(file) for file in (path, PROJECT_ROOT / "configs" / f"{path.stem}_libero.yaml")
    )
    amounts = {"max_steps", "workers"}
    for key, value in real["simulation"].items():
        assert key in amounts or tiny["simulation"][key] == value
    amounts = {"episodes_per_update", "minibatch_size", "micro_batch_size", "critic_warmup_epochs"}
    for key, value in real["train"]["pi_rl"].items():
        assert key in amounts or tiny["train"]["pi_rl"][key] == value
    for key in ("recipes", "actors", "synchronous", "flow_sde", "flow_noise"):
        assert tiny["train"][key] == real["train"][key]
    for key in ("type", "n_action_steps", "num_denoising_steps", "num_steps", "num_inference_steps"):
        assert tiny["policy"]["settings"].get(key) == real["policy"]["settings"].get(key)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExperimentError, match=r"nowhere\.yaml: no such file"):
        load_experiment(tmp_path / "nowhere.yaml")


def test_every_key_of_the_schema_is_described():
    def undescribed(rule, path=""):
        for key, child in rule.get("properties", {}).items():
            cut_short = [word for word in child if " " in word]  # an unquoted comma ends a description
            if "description" not in child or "default" not in child or cut_short:
                yield f"{path}{key}"
            yield from undescribed(child, f"{path}{key}.")

    assert list(undescribed(yaml.safe_load(SCHEMA_PATH.read_text()))) == []


def test_start_seeds_of_the_splits_are_disjoint(tmp_path):
    experiment = load_experiment(write(tmp_path, ""))
    bases = [
        experiment["demos"]["seed_base"],
        experiment["replay"]["seed_base"],
        experiment["train"]["seed_base"],
        experiment["select"]["seed_base"],
        experiment["smoke_eval"]["wide_seed_base"],
    ]
    assert bases == sorted(bases)
    assert min(after - before for before, after in itertools.pairwise(bases)) > 1_000_000
