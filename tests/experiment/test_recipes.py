"""An experiment becomes the run files of its recipes."""

from pathlib import Path

import pytest

from pirl.experiment.config import PROJECT_ROOT, load_experiment
from pirl.experiment.recipes import (
    STARTS_PER_SEED,
    demonstration_layout,
    run_settings,
    split_seed,
    with_seed,
)


@pytest.fixture
def experiment():
    return load_experiment(PROJECT_ROOT / "configs" / "smoke.yaml")


def settings(experiment, recipe):
    return run_settings(
        experiment, recipe, warm_start=Path("policy"), demonstrations=Path("demos"), output_dir=Path("out")
    )


@pytest.mark.parametrize("variant", ["flow_sde", "flow_noise"])
def test_variants_differ_in_the_algorithm_alone(experiment, variant):
    experiment["train"]["pi_rl"] = {"epochs": 3}
    experiment["train"][variant] = {"clip": 0.1}
    experiment["train"]["policy"] = {"device": "cuda"}
    run = settings(experiment, f"pi_rl_{variant}")
    assert run["algorithm"] == {"type": "pi_rl", "variant": variant, "epochs": 3, "clip": 0.1}
    assert run["policy"] == {"path": "policy", "device": "cuda"}
    assert "demonstrations" not in run


def test_sac_gets_the_demonstrations_and_decides_at_every_step(experiment):
    run = settings(experiment, "sac")
    assert run["algorithm"]["type"] == "sac"
    assert run["rollout"]["chunk_size"] == 1
    assert run["demonstrations"] == "demos"
    assert run["budget"] == settings(experiment, "pi_rl_flow_sde")["budget"]


def test_in_absolute_control_sac_still_acts_in_steps(experiment):
    experiment["simulation"]["control_mode"] = "absolute"
    assert settings(experiment, "pi_rl_flow_sde")["env"]["control_mode"] == "absolute"
    assert settings(experiment, "sac")["env"]["control_mode"] == "relative"


def test_another_seed_trains_from_other_starts_and_is_evaluated_on_the_same(experiment):
    assert split_seed("pi_rl_flow_sde/seed_12") == ("pi_rl_flow_sde", 12)
    assert split_seed("sac") == ("sac", None)
    assert with_seed(experiment, None) == experiment
    other = with_seed(experiment, 2)
    first, second = settings(experiment, "sac"), settings(other, "sac")
    assert (first["seed"], second["seed"]) == (0, 2)
    base = first["rollout"]["seed_base"]
    assert second["rollout"]["seed_base"] == base + 2 * STARTS_PER_SEED
    assert base + 10 * STARTS_PER_SEED <= experiment["select"]["seed_base"]
    assert {key for key in experiment if experiment[key] != other[key]} == {"seed", "train"}


def test_adapters_and_learner_processes_are_for_pi_rl_alone(experiment):
    assert settings(experiment, "pi_rl_flow_sde")["peft"] is None
    experiment["train"] |= {"learner_processes": 4, "learner_sharding": True, "peft": {"r": 8}}
    run = settings(experiment, "pi_rl_flow_sde")
    assert (run["learner_processes"], run["learner_sharding"], run["peft"]) == (4, True, {"r": 8})
    sac = settings(experiment, "sac")
    assert (sac["learner_processes"], sac["learner_sharding"]) == (1, False) and "peft" not in sac


@pytest.mark.parametrize(("policy", "layout"), [("xvla", "xvla"), ("smolvla", "libero"), ("pi05", "libero")])
def test_xvla_is_cloned_from_its_own_layout(experiment, policy, layout):
    experiment["policy"]["settings"]["type"] = policy
    assert demonstration_layout(experiment) == layout


def test_the_replay_buffer_can_be_sized(experiment):
    experiment["train"]["buffer"] = {"online_capacity": 77}
    for recipe in ("pi_rl_flow_sde", "sac"):
        assert settings(experiment, recipe)["buffer"]["online_capacity"] == 77
