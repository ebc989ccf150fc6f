"""A start policy as `policy.path` names one: a tiny XVLA with its processors."""

from pathlib import Path

import pytest
from lerobot.envs.configs import LiberoEnv

from pirl.policies.processing import PolicyProcessing
from pirl.policies.tokenizer import TOKENIZER_DIR
from tests.policies.tiny import make_xvla


@pytest.fixture(scope="session")
def start_policy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    policy = make_xvla(tokenizer_name=str(TOKENIZER_DIR))
    policy.save_pretrained(folder)
    processing = PolicyProcessing(policy.config, LiberoEnv())
    processing.preprocessor.save_pretrained(folder)
    processing.postprocessor.save_pretrained(folder)
    return folder
