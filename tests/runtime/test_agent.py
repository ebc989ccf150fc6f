"""Actor and learner refuse a start policy that their simulator does not suit."""

import pytest

from pirl.runtime.agent import build_agent
from pirl.runtime.configuration import ConfigError, parse_config


def test_a_start_policy_that_does_not_fit_is_refused(tmp_path, start_policy, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pirl-learner"])
    flags = {
        "output_dir": tmp_path,
        "env.type": "libero",
        "env.observation_height": 32,
        "env.observation_width": 32,
        "policy.path": start_policy,
        "algorithm.type": "pi_rl",
        "rollout.chunk_size": 4,
    }
    words = [f"--{key}={value}" for key, value in flags.items()]
    assert build_agent(parse_config(words)).algorithm.chunk_size == 4
    relative = ["--algorithm.advantage=action_value", "--algorithm.critic_input=scene"]
    relative += ["--algorithm.bootstrap_timeouts=false", "--algorithm.critic_memory=2"]
    relative += ["--algorithm.stochastic_steps=last", "--env.control_mode=relative"]
    with pytest.raises(ConfigError, match=r"action_value needs env\.control_mode=absolute"):
        build_agent(parse_config([*words, *relative]))
    with pytest.raises(ConfigError, match=r"policy: policy\.settings\.n_action_steps: .* 4 steps .* is 5"):
        build_agent(parse_config([*words, "--rollout.chunk_size=5"]))
