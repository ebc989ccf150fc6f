"""Weights that LeRobot leaves out without an error are noticed."""

from unittest import mock

import pytest
import torch
from lerobot.policies.pi0 import modeling_pi0

from pirl.policies.loading import WeightsNotLoaded, load_pretrained
from tests.policies.tiny import make_pi, make_policy
from tests.policies.tiny_gemma.sizes import tiny


def test_loaded_weights_are_those_of_the_file(tmp_path):
    policy = make_policy("smolvla")
    policy.save_pretrained(tmp_path)
    loaded = load_pretrained(policy.config, tmp_path)
    assert all(torch.equal(tensor, policy.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_random_weights_in_place_of_a_checkpoints_are_refused(tmp_path):
    """LeRobot prints `Could not load state dict` for pi0 and goes on."""
    policy = make_pi("pi0")
    policy.save_pretrained(tmp_path)
    with mock.patch.multiple(modeling_pi0, **tiny(modeling_pi0)):
        load_pretrained(policy.config, tmp_path)
        policy.config.max_state_dim += 1
        with pytest.raises(WeightsNotLoaded, match=r"model\.safetensors: the policy does not hold"):
            load_pretrained(policy.config, tmp_path)
