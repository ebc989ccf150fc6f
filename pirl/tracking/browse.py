"""Opens the MLflow UI of a store in a headless browser: for the pictures in docs/mlflow.md, and for tests.

    python -m pirl.tracking.browse --pipeline smoke --out docs/images

Needs Chromium (Debian: `apt install chromium`); playwright, a development dependency, drives it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlflow.entities import Run

from pirl.tracking.store import EXPERIMENT, open_client, tracking_uri

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
CURVE = "rollout/success_rate"
START_S = 240.0
PAGE_MS = 120_000.0
# MLflow's assistant opens over a third of the page unless it has been closed before.
NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""


@contextmanager
def serve(uri: str) -> Iterator[str]:
    """The address of an `mlflow server` on the store at `uri`, on loopback, for as long as the context.

    Raises:
        TimeoutError: when it does not answer within minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        except OSError:
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
    """The newest run of each recipe and seed that holds its learning curves."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    wanted = f"tags.stage = 'learner' and tags.pipeline = '{pipeline}'"
    runs = client.search_runs([experiment.experiment_id], wanted, order_by=["attributes.start_time ASC"])
    return list({run.info.run_name: run for run in runs}.values())


def comparison_address(address: str, runs: Sequence[Run]) -> str:
    """Of the page that *Compare* opens."""
    return f"{address}/#/compare-runs?{_query(_chosen(runs))}"


def curve_address(address: str, runs: Sequence[Run], metric: str = CURVE) -> str:
    """Of the chart of one metric, as the comparison page links to it."""
    details = {"metric": metric, "plot_metric_keys": [metric], "plot_layout": {}, "deselected_curves": []}
    query = _query(_chosen(runs) | details | {"last_linear_y_axis_range": []})
    return f"{address}/#/metric?{query}&x_axis=step&y_axis_scale=linear&line_smoothness=1&show_point=true"


def _chosen(runs: Sequence[Run]) -> dict[str, Any]:
    return {"runs": [run.info.run_id for run in runs], "experiments": [runs[0].info.experiment_id]}


def _query(values: dict[str, Any]) -> str:
    return "&".join(f"{key}={quote(json.dumps(value))}" for key, value in values.items())


def show_comparison(page: Any, address: str, runs: Sequence[Run]) -> None:
    """Open the comparison page and wait until it names all runs."""
    page.goto(comparison_address(address, runs))
    for run in runs:
        page.get_by_text(run.info.run_name, exact=True).first.wait_for(timeout=PAGE_MS)


def show_curves(page: Any, address: str, runs: Sequence[Run], metric: str = CURVE) -> list[str]:
    """Open the chart of a metric and wait until it has a line per run; returns the lines' colours."""
    page.goto("about:blank")  # an address that differs after its # alone keeps the old page
    page.goto(curve_address(address, runs, metric))
    lines = page.locator(".scatterlayer .js-line")
    lines.nth(len(runs) - 1).wait_for(state="attached", timeout=PAGE_MS)
    return lines.evaluate_all("lines => [...new Set(lines.map(line => getComputedStyle(line).stroke))]")


def main() -> None:
    """Photograph the comparison of a pipeline run's learners."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pipeline", default="default", help="name of the pipeline run")
    parser.add_argument("--metric", default=CURVE, help="whose curves are shown")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    runs = learner_runs(tracking_uri(), arguments.pipeline)
    if not runs:
        sys.exit(f"{tracking_uri()}: no learner's run of pipeline {arguments.pipeline!r}; train first")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with serve(tracking_uri()) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 720})
        page.add_init_script(NO_ASSISTANT)
        show_comparison(page, address, runs)
        _photograph(page, arguments.out / "mlflow_compare.png")
        show_curves(page, address, runs, arguments.metric)
        _photograph(page, arguments.out / "mlflow_curves.png")


def _photograph(page: Any, path: Path) -> None:
    page.wait_for_timeout(3000)  # drawn, and no longer moving
    page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
