"""Checkpoints as lerobot-train writes them, and as pirl exports them, see the same."""

import json

import numpy as np
import pytest
import torch
from lerobot.envs.configs import LiberoEnv
from lerobot.policies import make_pre_post_processors

from pirl.demonstrations.layouts import to_layout, turn
from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.policies.export import ExportError, export_policy, folder_for_training
from pirl.policies.processing import XVLA_LIBERO_STEPS, PolicyProcessing
from pirl.policies.tokenizer import TOKENIZER_DIR
from tests.policies.tiny import make_xvla


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    policy = make_xvla(tokenizer_name=str(TOKENIZER_DIR))
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(policy.config):
        pipeline.save_pretrained(folder)
    return folder, policy.config


def steps(folder) -> list[str]:
    return [
        step["registry_name"]
        for step in json.loads((folder / "policy_preprocessor.json").read_text())["steps"]
    ]


def test_what_lerobot_train_saves_is_encoded_like_what_is_exported(trained, tmp_path):
    folder, config = trained
    assert set(steps(folder)) >= set(XVLA_LIBERO_STEPS)
    exported = export_policy(folder, tmp_path / "policy")
    assert not set(steps(exported)) & set(XVLA_LIBERO_STEPS)
    environment = LiberoChunkEnv([("libero_object", 0)], chunk_size=4, height=32, width=32)
    environment.observation_space.seed(0)
    observation = environment.observation_space.sample()
    encoded = [
        PolicyProcessing(config, LiberoEnv(), pretrained_path=path).encode(
            [observation], ["pick up the milk"]
        )
        for path in (folder, exported)
    ]
    assert encoded[0].keys() == encoded[1].keys()
    for name, tensor in encoded[0].items():
        assert torch.equal(tensor, encoded[1][name])


def test_cloning_goes_on_from_an_exported_policy_with_the_pictures_it_knows(trained, tmp_path):
    """Without the steps that an export loses, lerobot-train feeds raw pictures, silently."""
    folder, config = trained
    exported = export_policy(folder, tmp_path / "policy")
    copy = folder_for_training(exported, tmp_path / "copy")
    assert steps(copy) == steps(folder)
    torch.manual_seed(0)
    frame = {name: torch.rand(1, *feature.shape) for name, feature in config.input_features.items()}
    frame |= {"task": ["pick up the milk"]}
    first, again = (
        make_pre_post_processors(config, pretrained_path=str(path))[0](dict(frame)) for path in (folder, copy)
    )
    assert torch.equal(first["observation.images.image"], again["observation.images.image"])
    assert first["observation.images.image"].min() < -0.5
    assert torch.equal(first["domain_id"], again["domain_id"])


def test_what_lerobot_train_saves_is_trained_on_as_it_is(trained, tmp_path):
    assert folder_for_training(trained[0], tmp_path / "copy") == trained[0]
    assert not (tmp_path / "copy").exists()


def test_a_frame_of_a_data_set_is_encoded_as_the_same_scene_in_a_rollout(trained):
    """Demonstrations in PI-RL's hybrid mode must look to the policy as its own rollouts do."""
    folder, config = trained
    processing = PolicyProcessing(config, LiberoEnv(), pretrained_path=folder)
    environment = LiberoChunkEnv([("libero_object", 0)], chunk_size=4, height=32, width=32)
    environment.observation_space.seed(0)
    observation = environment.observation_space.sample()
    rolled_out = processing.encode([observation], ["pick up the milk"])
    turned = {name: turn(picture)[None] for name, picture in observation["pixels"].items()}
    columns = to_layout("xvla", turned, np.zeros((1, 8)), np.zeros((1, 7)))
    frame = {
        n: torch.from_numpy(c[0].copy()).permute(2, 0, 1) / 255 for n, c in columns.items() if "images" in n
    }
    frame |= {"observation.state": rolled_out["observation.state"][0], "task": "pick up the milk"}
    frame = processing.encode_frame(frame)
    assert frame.keys() == rolled_out.keys()
    for name, tensor in rolled_out.items():
        torch.testing.assert_close(frame[name], tensor)


def test_the_exported_folder_carries_its_tokenizer(trained, tmp_path):
    exported = export_policy(trained[0], tmp_path / "policy")
    assert (exported / "tokenizer" / "tokenizer.json").is_file()


def test_an_incomplete_folder_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ExportError, match=r"config\.json is missing"):
        export_policy(tmp_path / "source", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
