"""A policy that does not suit its simulator is refused, with the key and the remedy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.envs.configs import LiberoEnv
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from scipy.spatial.transform import Rotation

from pirl.demonstrations.layouts import libero_to_xvla_action, libero_to_xvla_target
from pirl.policies.fit import PolicyMismatch, check_fit, demonstrated_control
from pirl.policies.processing import PolicyProcessing
from tests.policies.tiny import SMOLVLM, features, make_xvla

BOTH = "agentview_image,robot0_eye_in_hand_image"


def statistics(values: np.ndarray) -> dict[str, torch.Tensor]:
    """Of samples [N, D], as a data set keeps them."""
    found = {name: getattr(values, name)(0) for name in ("mean", "std", "min", "max")}
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in found.items()}


@pytest.fixture(scope="module")
def demonstrated() -> tuple[np.ndarray, np.ndarray]:
    """States [N, 8] with the hand pointing down, turned and tilted a little, and relative actions [N, 7]."""
    random = np.random.default_rng(0)
    turned = Rotation.from_euler("zyx", random.normal(0, 0.3, (500, 3)))
    rotation = turned * Rotation.from_euler("x", np.pi) * Rotation.from_euler("z", np.pi / 2)
    position = random.normal([0.0, 0.0, 1.0], 0.1, (500, 3))
    states = np.concatenate([position, rotation.as_rotvec(), np.zeros((500, 2))], -1)
    actions = np.concatenate(
        [random.uniform(-0.9, 0.9, (500, 6)) * [1, 1, 1, 0.4, 0.4, 0.4], np.ones((500, 1))], -1
    )
    return states.astype(np.float32), actions.astype(np.float32)


@pytest.fixture
def stats(demonstrated):
    states, actions = demonstrated
    return {"observation.state": statistics(states), "action": statistics(actions)}


def smolvla(**settings) -> SmolVLAConfig:
    defaults = features(state=8, action=7) | {"vlm_model_name": str(SMOLVLM), "n_action_steps": 5}
    return SmolVLAConfig(**(defaults | settings))


def check(config, stats, chunk_size=5, **environment) -> None:
    libero = LiberoEnv(**({"camera_name": BOTH} | environment))
    check_fit(config, PolicyProcessing(config, libero, dataset_stats=stats), libero, chunk_size)


def test_what_fits_passes(stats):
    check(smolvla(), stats)
    check(smolvla(empty_cameras=1), stats)


@pytest.mark.parametrize(
    ("settings", "environment", "message"),
    [
        (
            {"n_action_steps": 50},
            {},
            r"policy\.settings\.n_action_steps: the policy executes 50 steps .* is 5",
        ),
        ({}, {"camera_name": "agentview_image"}, r"simulation\.cameras: the policy reads .*image2"),
        ({}, {"control_mode": "absolute"}, r"simulation\.control_mode: absolute, .* from relative actions"),
    ],
)
def test_a_mismatch_is_named(stats, settings, environment, message):
    with pytest.raises(PolicyMismatch, match=message):
        check(smolvla(**settings), stats, **environment)


def test_a_camera_that_nobody_reads_is_named(stats):
    config = smolvla()
    del config.input_features["observation.images.image2"]
    with pytest.raises(
        PolicyMismatch, match=r"simulation\.cameras: robot0_eye_in_hand gives .*does not read"
    ):
        check(config, stats)


def test_cameras_that_the_checkpoint_renames_are_followed(stats):
    config = smolvla()
    image = PolicyFeature(FeatureType.VISUAL, (3, 32, 32))
    config.input_features |= {f"observation.images.camera{number}": image for number in (1, 2)}
    names = {"observation.images.image": "observation.images.camera1"}
    names["observation.images.image2"] = "observation.images.camera2"
    for name in names:
        del config.input_features[name]
    libero = LiberoEnv(camera_name=BOTH)
    processing = PolicyProcessing(config, libero, dataset_stats=stats)
    with pytest.raises(PolicyMismatch, match=r"the policy reads observation\.images\.camera1"):
        check_fit(config, processing, libero, 5)
    processing.preprocessor.steps[0].rename_map = names
    check_fit(config, processing, libero, 5)


def test_pictures_that_are_not_resized_must_have_the_policys_size():
    config = make_xvla(tokenizer_name=str(SMOLVLM)).config
    check(config, None, chunk_size=4, observation_height=32, observation_width=32)
    with pytest.raises(PolicyMismatch, match=r"simulation\.height, simulation\.width: \(64, 32\)"):
        check(config, None, chunk_size=4, observation_height=64, observation_width=32)


@pytest.mark.parametrize("missing", ["observation.state", "action"])
def test_missing_statistics_are_named(stats, missing):
    del stats[missing]
    with pytest.raises(PolicyMismatch, match=rf"policy\.path: MEAN_STD of {missing} needs mean, std"):
        check(smolvla(), stats)


def test_statistics_of_another_state_are_named(stats):
    stats["observation.state"] = {name: value[:6] for name, value in stats["observation.state"].items()}
    with pytest.raises(PolicyMismatch, match=r"statistics of 6 dims of observation\.state, LIBERO gives 8"):
        check(smolvla(), stats)


def test_another_normalisation_than_the_saved_one_is_named(stats):
    config, libero = smolvla(), LiberoEnv(camera_name=BOTH)
    processing = PolicyProcessing(config, libero, dataset_stats=stats)
    config.normalization_mapping = config.normalization_mapping | {"ACTION": NormalizationMode.MIN_MAX}
    with pytest.raises(
        PolicyMismatch, match=r"normalization_mapping: ACTION is MIN_MAX, .* saved with MEAN_STD"
    ):
        check_fit(config, processing, libero, 5)


def test_the_control_mode_shows_in_the_demonstrated_actions(demonstrated):
    states, actions = demonstrated
    poses = np.concatenate([states[:, :6], actions[:, 6:]], -1)
    for control, samples in (
        ("relative", actions),
        ("absolute", poses),
        ("relative", libero_to_xvla_action(actions)),
        ("absolute", libero_to_xvla_target(states, actions)),
    ):
        assert demonstrated_control({"action": statistics(samples)}) == control
    assert demonstrated_control({}) is None
