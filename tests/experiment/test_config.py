"""Experiments: shipped files are valid, defaults are complete, mistakes are named."""

import itertools
from pathlib import Path

import pytest
import yaml

from pirl.experiment.config import PROJECT_ROOT, SCHEMA_PATH, ExperimentError, load_experiment
from pirl.experiment.recipes import run_settings

SHIPPED = sorted((PROJECT_ROOT / "configs").glob("*.yaml"))


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
        assert settings["algorithm"]["type"] == ("sac" if recipe == "sac" else "pi_rl")


def test_an_empty_file_is_all_defaults(tmp_path):
    experiment = load_experiment(write(tmp_path, ""))
    assert experiment["train"]["sac"]["online_ratio"] == 0.5
    assert experiment["simulation"]["chunk_size"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {}", "mine.yaml: unknown key 'trian'; known keys: demos, "),
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
