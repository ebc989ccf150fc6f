"""A start policy as `policy.path` names one."""

from pathlib import Path

import pytest

from tests.policies.tiny import save_xvla


@pytest.fixture(scope="session")
def start_policy(tmp_path_factory) -> Path:
    return save_xvla(tmp_path_factory.mktemp("policy"))
