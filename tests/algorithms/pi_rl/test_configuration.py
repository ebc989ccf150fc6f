"""Settings: registered, round-tripped, validated in one line."""

import draccus
import pytest
from lerobot.rl.algorithms.configs import RLAlgorithmConfig

from pirl.algorithms import PiRLConfig


def test_registered_and_decoded_by_type():
    config = draccus.decode(
        RLAlgorithmConfig, {"type": "pi_rl", "variant": "flow_noise", "noise_scale": [1.0, 0.5]}
    )
    assert isinstance(config, PiRLConfig) and config.type == "pi_rl"
    assert config.stochastic_steps == "all" and config.noise_scale == [1.0, 0.5]


def test_round_trip_through_a_folder(tmp_path):
    config = PiRLConfig(stochastic_steps="last", sampler="native", target_kl=None)
    config.save_pretrained(tmp_path)
    assert RLAlgorithmConfig.from_pretrained(tmp_path) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "flow_sed"}, r"algorithm\.variant: 'flow_sed' is not one of flow_sde, flow_noise"),
        ({"gamma": 1.5}, r"algorithm\.gamma: must be between 0 and 1, got 1.5"),
        ({"epochs": 0}, r"algorithm\.epochs: must be at least 1"),
        ({"actor_lr": 0.0}, r"algorithm\.actor_lr: must be above 0"),
        ({"noise_std_min": 0.2}, r"noise_std_min: 0.2 exceeds"),
        ({"sampler": "native"}, r"sampler.*use euler, or stochastic_steps=last"),
        ({"critic_input": "scene"}, r"bootstrap_timeouts: critic_input='scene'.*set it to false"),
        ({"critic_memory": 3}, r"critic_memory.*use critic_input=scene"),
        ({"advantage": "action_value"}, r"action_value needs critic_input=scene, got observation"),
        (
            {"advantage": "action_value", "critic_input": "scene", "bootstrap_timeouts": False},
            r"action_value needs stochastic_steps=last, got one",
        ),
        (
            {
                "advantage": "action_value",
                "critic_input": "scene",
                "bootstrap_timeouts": False,
                "stochastic_steps": "last",
            },
            r"critic_memory: advantage=action_value",
        ),
        ({"dual_clip": 0.9}, r"dual_clip: must exceed 1"),
        ({"lr_schedule": "cosine"}, r"lr_decay_updates: needed"),
        ({"entropy_coefficient": 0.01}, r"entropy_coefficient.*use 0"),
    ],
)
def test_wrong_settings_name_key_and_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        PiRLConfig(**settings)
