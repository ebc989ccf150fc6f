"""Run files and dotted overrides, as LeRobot's parser reads them."""

import json
import sys

import pytest

from pirl.runtime.configuration import ConfigError, parse_config


@pytest.fixture
def parse(tmp_path, start_policy, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pirl-learner"])

    def parse(*overrides, **changes):
        settings = {
            "output_dir": str(tmp_path / "run"),
            "env": {"type": "libero", "task": "libero_object"},
            "policy": {"path": str(start_policy)},
            "algorithm": {"type": "pi_rl"},
        }
        path = tmp_path / "run.json"
        path.write_text(json.dumps(settings | changes))
        return parse_config([f"--config_path={path}", *overrides])

    return parse


def test_the_policy_comes_from_its_folder_with_overrides(parse, start_policy):
    config = parse(policy={"path": str(start_policy), "num_denoising_steps": 2})
    assert config.policy.type == "xvla"
    assert config.policy.num_denoising_steps == 2
    assert config.algorithm.policy_config is config.policy
    assert parse("--policy.num_denoising_steps=3").policy.num_denoising_steps == 3


def test_one_file_leaves_nothing_to_the_next(parse):
    """LeRobot's parser remembers the path it took from a file; and the caller keeps its command line."""
    words = list(sys.argv)
    parse()
    with pytest.raises(ConfigError, match="policy: missing"):
        parse(policy=None)
    assert sys.argv == words


def test_grpo_gets_whole_groups(parse):
    wanted = ("--algorithm.advantage=grpo", "--rollout.episodes_per_start=8")
    assert parse(*wanted).rollout.episodes_per_start == 8
    with pytest.raises(ConfigError, match=r"episodes_per_update: 44 cuts groups of .*=8 in two"):
        parse(*wanted, "--algorithm.episodes_per_update=44")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--algorithm.clip=-1", r"algorithm\.clip: must be above 0"),
        ("--rollout.starts=far", r"rollout\.starts: 'far' is not one of"),
        ("--actors=0", r"actors: must be at least 1"),
        ("--budget.keep_last=0", r"budget\.keep_last: must be at least 1"),
        ("--budget.stop_at_success=0", r"budget\.stop_at_success: must be above 0"),
        ("--algorithm.advantage=grpo", r"rollout\.episodes_per_start: 1 leaves GRPO nothing"),
        ("--transport.host=0.0.0.0", r"transport\.host: 0\.0\.0\.0 can be reached"),
    ],
)
def test_wrong_settings_are_named(parse, override, message):
    with pytest.raises(ConfigError, match=message):
        parse(override)


def test_an_unknown_flag_is_named(parse, capsys):
    with pytest.raises(SystemExit):
        parse("--algorithm.clipp=0.1")
    assert "unrecognized arguments: --algorithm.clipp=0.1" in capsys.readouterr().err


def test_an_unknown_key_in_the_file_is_named(parse):
    with pytest.raises(ConfigError, match=r"run\.json: .*clipp"):
        parse(algorithm={"type": "pi_rl", "clipp": 0.1})


def test_a_policy_that_is_not_there_is_named(parse, tmp_path):
    with pytest.raises(ConfigError, match=r"policy\.path"):
        parse(policy={"path": str(tmp_path / "nowhere")})
