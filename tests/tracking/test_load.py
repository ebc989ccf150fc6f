"""System metrics reach the store under MLflow's own names; training's random numbers stay what they are."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from pirl.tracking import RunTracker
from pirl.tracking.load import INTERVAL_VARIABLE


def test_the_machines_load_is_recorded(
    tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, "0.1")
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with RunTracker.for_stage("smoke", stage="learner", folder=tmp_path, uri=store_uri) as tracker:
        tracker.log_metrics({"loss/policy": 1.0}, step=640)
        journal = tmp_path / "tracking.jsonl"
        deadline = time.monotonic() + 60
        while journal.read_text().count("system/cpu") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after
    client = MlflowClient(store_uri)
    (run,) = client.search_runs(["1"], "tags.stage = 'learner'")
    history = client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    assert len(history) >= 2
    assert {point.step for point in history} == {640}
    assert {"system/system_memory_usage_megabytes", "system/disk_usage_percentage"} <= run.data.metrics.keys()
