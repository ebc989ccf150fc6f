"""From journals to the tracking store: by a thread while a run lives, by a sweep afterwards."""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pirl.tracking.journal import JOURNAL_GLOB, Journal
from pirl.tracking.store import PARENT_TAG, ensure_store, open_client, pipeline_run, tracking_uri

METRICS_PER_BATCH = 500  # MLflow takes 1000
PARAMS_PER_BATCH = 100
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
BETWEEN_SENDS_S = 1.0
SILENT_STORE_S = 10.0
# MLflow's error codes: a run that is not in the store, and a value that it will never take.
UNKNOWN_TO_STORE = "RESOURCE_DOES_NOT_EXIST"
REFUSED = "INVALID_PARAMETER_VALUE"


class StoreWriter:
    """Writes one journal's unsent events to the store. Sending an event twice does no harm."""

    def __init__(self, journal: Journal, uri: str) -> None:
        self._journal = journal
        self._uri = uri
        self._client: Any = None
        self._experiment_id = ""

    def send(self) -> None:
        """Send all events that are in the journal now.

        Raises:
            Exception: whatever MLflow raises when the store is unreachable or locked; what was sent before is
                noted, so the next call goes on from there. An emptied store gets everything again.
        """
        if not self._journal.unsent():
            return
        try:
            self._send()
        except Exception as error:
            if getattr(error, "error_code", None) == UNKNOWN_TO_STORE:
                self._journal.forget_store()
                self._client = None
            raise

    def _send(self) -> None:
        if self._client is None:
            self._experiment_id = ensure_store(self._uri)
            self._client = open_client(self._uri)
        if self._journal.run_id is None:
            self._journal.mark_sent(self._create_run(), 0)
        run_id = self._journal.run_id
        assert run_id is not None
        batch: list[Any] = []
        offset = self._journal.sent_bytes
        for event, following in self._journal.events(offset):
            if event["event"] == "metrics":
                batch += self._metrics(event)
                if len(batch) >= METRICS_PER_BATCH:
                    self._send_metrics(run_id, batch, following)
                    batch = []
            else:
                self._send_metrics(run_id, batch, offset)
                batch = []
                self._taken(self._send_event, run_id, event)
                self._journal.mark_sent(run_id, following)
            offset = following
        self._send_metrics(run_id, batch, offset)

    def _create_run(self) -> str:
        run = self._journal.first()
        parent = pipeline_run(
            self._client,
            self._uri,
            self._experiment_id,
            run["pipeline"],
            {key: value for key, value in run["tags"].items() if key in ("git_sha", "config_hash")},
        )
        if run["name"] is None:
            return parent
        created = self._client.create_run(
            self._experiment_id,
            run_name=run["name"],
            start_time=run["time_ms"],
            tags={**run["tags"], "pipeline": run["pipeline"], PARENT_TAG: parent},
        )
        return created.info.run_id

    def _metrics(self, event: dict[str, Any]) -> list[Any]:
        from mlflow.entities import Metric

        return [Metric(key, value, event["time_ms"], event["step"]) for key, value in event["values"].items()]

    def _send_metrics(self, run_id: str, batch: list[Any], offset: int) -> None:
        for begin in range(0, len(batch), METRICS_PER_BATCH):
            metrics = batch[begin : begin + METRICS_PER_BATCH]
            if not self._taken(self._client.log_batch, run_id, metrics):
                for metric in metrics:
                    self._taken(self._client.log_batch, run_id, [metric])
        self._journal.mark_sent(run_id, offset)

    def _taken(self, send: Callable[..., Any], *event: Any) -> bool:
        """Call `send` with `event`; False when the store will never take it: what follows must not wait."""
        try:
            send(*event)
        except Exception as error:
            if getattr(error, "error_code", None) != REFUSED:
                raise
            logging.warning("tracking: %s: the store refuses an event: %s", self._journal.path, error)
            return False
        return True

    def _send_event(self, run_id: str, event: dict[str, Any]) -> None:
        match event["event"]:
            case "run":
                self._send_params(run_id, event["params"])
            case "supersedes":
                self._delete_run(event["run_id"])
            case "resume":
                self._client.update_run(run_id, status="RUNNING")
            case "checkpoint":
                self._send_checkpoint(run_id, event)
            case "artifact":
                if Path(event["path"]).exists():
                    self._client.log_artifact(run_id, event["path"])
                else:
                    logging.warning("tracking: %s is gone and was not sent", event["path"])
            case "end":
                self._client.set_terminated(run_id, status=event["status"], end_time=event["time_ms"])

    def _delete_run(self, run_id: str) -> None:
        """MLflow keeps a deleted run out of sight, and restores it on demand."""
        try:
            self._client.delete_run(run_id)
        except Exception as error:
            if getattr(error, "error_code", None) not in (UNKNOWN_TO_STORE, REFUSED):
                raise

    def _send_params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        entries = [Param(key, value[:6000]) for key, value in params.items()]
        for begin in range(0, len(entries), PARAMS_PER_BATCH):
            self._client.log_batch(run_id, params=entries[begin : begin + PARAMS_PER_BATCH])

    def _send_checkpoint(self, run_id: str, event: dict[str, Any]) -> None:
        import mlflow

        known = self._client.search_logged_models(
            [self._experiment_id], filter_string=f"name = '{event['name']}' AND source_run_id = '{run_id}'"
        )
        if known:
            model_id = known[0].model_id
        else:
            # The one call of MLflow's that has no client form.
            mlflow.set_tracking_uri(self._uri)
            model_id = mlflow.create_external_model(
                name=event["name"],
                source_run_id=run_id,
                experiment_id=self._experiment_id,
                model_type="policy",
                tags=event["tags"],
                params={"path": event["path"], "env_steps": str(event["step"])},
            ).model_id
        for key, value in event["values"].items():
            self._client.log_metric(
                run_id, key, value, timestamp=event["time_ms"], step=event["step"], model_id=model_id
            )


class BackgroundSender:
    """Sends a journal from a thread, so that training never waits for the store."""

    def __init__(self, journal: Journal, uri: str) -> None:
        self._journal = journal
        self._writer = StoreWriter(journal, uri)
        self._uri = uri
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._warned = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Send what is left, for at most `timeout_s`; True when the store has everything.

        A store that does not answer is given up after a few seconds.
        """
        self._stopping.set()
        self._wake.set()
        began = time.monotonic()
        while not self._drained.wait(0.1):
            if time.monotonic() - began > (min(timeout_s, SILENT_STORE_S) if self._failing else timeout_s):
                return False
        return True

    def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._wake.wait()
            last = self._stopping.is_set()
            self._wake.clear()
            try:
                self._writer.send()
                self._failing = False
                retry_s = FIRST_RETRY_S
                self._stopping.wait(BETWEEN_SENDS_S)
            except Exception as error:
                self._failing = True
                self._warn(error)
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                self._wake.set()
                if self._stopping.is_set():
                    time.sleep(0.5)
                continue
            if last:
                self._drained.set()
                return

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = str(error).strip().splitlines()
            logging.warning(
                "tracking: %s does not answer (%s); metrics are kept in %s and sent when it does",
                self._uri,
                reason[0] if reason else type(error).__name__,
                self._journal.path,
            )


def send_pending(*folders: Path, uri: str | None = None) -> tuple[int, int]:
    """Send what earlier runs could not, from all journals below `folders`.

    Journals held by a live process are left to it.

    Returns:
        Numbers of events sent, and still unsent because the store does not answer.
    """
    sent = kept = 0
    for path in sorted(path for folder in folders for path in Path(folder).rglob(JOURNAL_GLOB)):
        try:
            journal = Journal(path)
        except BlockingIOError:
            continue
        waiting = journal.unsent()
        if waiting:
            try:
                StoreWriter(journal, uri or tracking_uri()).send()
            except Exception as error:
                logging.warning("tracking: %s: %s", path, error)
            sent += waiting - journal.unsent()
            kept += journal.unsent()
        journal.close()
    return sent, kept


def main() -> None:
    """`python -m pirl.tracking.sending runs results`."""
    parser = argparse.ArgumentParser(
        description="Send metrics that were kept while the MLflow store was away."
    )
    parser.add_argument("folders", nargs="+", type=Path, help="folders searched for journals")
    sent, kept = send_pending(*parser.parse_args().folders)
    print(f"{sent} events sent to {tracking_uri()}, {kept} still kept")


if __name__ == "__main__":
    main()
