"""A real MLflow store, made once and copied for each test: the first creation takes many seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pirl.tracking.store import ensure_store


@pytest.fixture(scope="session")
def prepared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    ensure_store(f"sqlite:///{database}")
    return database


@pytest.fixture
def store_uri(prepared_store: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(prepared_store, tmp_path / 'mlflow.db')}"
