"""Opens the MLflow UI of a store in a headless browser: for the pictures in docs/mlflow.md, and for tests.

    python -m pirl.tracking.browse --pipeline smoke --out docs/images

Needs Chromium (Debian: `apt install chromium`); playwright drives it and is a development dependency.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from mlflow.entities import Run

from pirl.tracking.store import EXPERIMENT, open_client

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CURVE = "rollout/success_rate"
START_S = 180.0
PAGE_MS = 90_000


@contextmanager
def serve(uri: str) -> Iterator[str]:
    """The address of an `mlflow server` on the store at `uri`, on loopback, for as long as the context.

    Raises:
        TimeoutError: when it does not answer within three minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise TimeoutError(f"{address}: mlflow server does not answer")


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's handle of the system's Chromium, headless.

    Raises:
        FileNotFoundError: when there is none.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is installed: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def learner_runs(uri: str, pipeline: str) -> list[Run]:
    """The runs that hold a pipeline run's learning curves."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    wanted = f"tags.stage = 'learner' and tags.pipeline = '{pipeline}'"
    return client.search_runs([experiment.experiment_id], wanted) if experiment else []


def comparison_address(address: str, runs: Sequence[Run]) -> str:
    """Of the page that *Compare* opens for these runs."""
    ids, experiments = ([run.info.run_id for run in runs], [runs[0].info.experiment_id])
    return (
        f"{address}/#/compare-runs?runs={quote(json.dumps(ids))}&experiments={quote(json.dumps(experiments))}"
    )


def curve_address(address: str, runs: Sequence[Run], metric: str = CURVE) -> str:
    """Of the chart of one metric of these runs, as the comparison page links to it."""
    query = {
        "runs": [run.info.run_id for run in runs],
        "metric": metric,
        "experiments": [runs[0].info.experiment_id],
        "plot_metric_keys": [metric],
        "plot_layout": {},
        "deselected_curves": [],
        "last_linear_y_axis_range": [],
    }
    words = "&".join(f"{key}={quote(json.dumps(value))}" for key, value in query.items())
    return f"{address}/#/metric?{words}&x_axis=step&y_axis_scale=linear&line_smoothness=1&show_point=true"
