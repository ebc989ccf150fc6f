"""Checkpoints as lerobot-train writes them, and as pirl exports them, see the same."""

import json

import pytest
import torch
from lerobot.envs.configs import LiberoEnv
from lerobot.policies import make_pre_post_processors

from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.policies.export import ExportError, export_policy
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
    assert set(steps(folder)) >= XVLA_LIBERO_STEPS
    exported = export_policy(folder, tmp_path / "policy")
    assert not set(steps(exported)) & XVLA_LIBERO_STEPS
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


def test_the_exported_folder_carries_its_tokenizer(trained, tmp_path):
    exported = export_policy(trained[0], tmp_path / "policy")
    assert (exported / "tokenizer" / "tokenizer.json").is_file()


def test_an_incomplete_folder_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "source").mkdir()
    with pytest.raises(ExportError, match=r"config\.json is missing"):
        export_policy(tmp_path / "source", tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
