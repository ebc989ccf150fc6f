"""Stages are scripts, not modules: tests load them by path."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.workflow.clones import make_clone, snakemake, write_outputs

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"


@pytest.fixture(scope="session")
def load_stage() -> Callable[[str], ModuleType]:
    """Load `workflow/scripts/<name>.py`."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{name}_stage", SCRIPTS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A clone whose smoke pipeline looks as if it had just been run; what it made means nothing."""
    folder = make_clone(tmp_path_factory.mktemp("project"))
    write_outputs(folder, "smoke")
    snakemake(folder, "smoke", "--touch")
    return folder
