"""The MLflow tracking store: where it is, how it comes to be, and who is whose child.

`MLFLOW_TRACKING_URI` names a server or database; without it, `mlflow.db` beside the Snakefile is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pirl.tracking.revision import PROJECT_ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "pirl"
PIPELINE_TAG = "pipeline"
PARENT_TAG = "mlflow.parentRunId"
SQLITE_PREFIX = "sqlite:///"
DATABASE = PROJECT_ROOT / "mlflow.db"


def tracking_uri() -> str:
    """The store's address: `MLFLOW_TRACKING_URI`, else the project's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE_PREFIX}{DATABASE}"


def open_client(uri: str) -> MlflowClient:
    """A client of the store that fails within seconds, since senders try again by themselves."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # Imported late: it takes seconds.
    from mlflow import MlflowClient

    for noisy in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        # Senders report trouble themselves, once.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri)


def ensure_store(uri: str | None = None) -> str:
    """Create the store and its experiment unless they exist; process-safe.

    The first creation of an SQLite store takes up to half a minute, later calls a moment.

    Returns:
        The experiment's id.

    Raises:
        mlflow.exceptions.MlflowException: when the store cannot be reached.
    """
    uri = uri or tracking_uri()
    with _store_lock(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return experiment.experiment_id
        database = _database(uri)
        # Without a location, artefacts of a local store would land in whatever folder the process runs in.
        artifacts = None if database is None else str(database.parent / "mlruns" / EXPERIMENT)
        return client.create_experiment(EXPERIMENT, artifact_location=artifacts)


def pipeline_run(
    client: MlflowClient, uri: str, experiment_id: str, pipeline: str, tags: dict[str, str]
) -> str:
    """The id of the parent run of a pipeline run, created by whichever process comes first.

    Args:
        client: of the store at `uri`.
        uri: the store's address.
        experiment_id: from `ensure_store`.
        pipeline: name of the pipeline run, the stem of its config file.
        tags: given to the parent when it is created.
    """
    with _store_lock(uri):
        found = client.search_runs(
            [experiment_id],
            filter_string=f"tags.{PIPELINE_TAG} = '{pipeline}' and tags.stage = 'pipeline'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        if found:
            return found[0].info.run_id
        created = client.create_run(
            experiment_id, run_name=pipeline, tags={**tags, PIPELINE_TAG: pipeline, "stage": "pipeline"}
        )
        return created.info.run_id


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE_PREFIX)) if uri.startswith(SQLITE_PREFIX) else None


@contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """Keeps processes of this host from creating the same thing twice; freed when the process ends."""
    database = _database(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        path = database.with_name(f"{database.name}.lock")
    else:
        path = (
            Path(tempfile.gettempdir()) / f"pirl-mlflow-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
        )
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(f"{tracking_uri()}: experiment {EXPERIMENT} has id {ensure_store()}")
