"""What one run has to tell the tracking store, kept on disk until the store has it.

A journal is a file of JSON lines, one event each, with a small state file beside it that says how many of
its bytes the store has received. Events:

- `run`: pipeline, name, tags, params (always first);
- `metrics`: step (environment steps), time_ms, values {name: number};
- `checkpoint`: name, path, step, time_ms, values: a model that the store ranks but does not copy;
- `artifact`: path of a file that the store keeps a copy of;
- `supersedes`: run_id of the store that this journal, cut back, takes the place of;
- `resume`, `end` (status, time_ms).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pirl.files import write_json_atomically

JOURNAL_GLOB = "tracking*.jsonl"


class Journal:
    """One run's events and how far they have been sent. Only one process at a time may hold it."""

    def __init__(self, path: Path) -> None:
        """Take hold of the journal at `path`, creating it when absent.

        Raises:
            BlockingIOError: when another process holds it.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _locked(self.path)
        self._writing = threading.Lock()
        self._state_path = self.path.with_suffix(".state.json")
        self.run_id: str | None = None
        self.sent_bytes = 0
        if self._state_path.is_file():
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            self.run_id, self.sent_bytes = state["run_id"], state["sent_bytes"]

    @classmethod
    def for_run(cls, folder: Path, run: dict[str, Any], last_step: int | None = None) -> Journal:
        """The journal in `folder` of the interrupted run that `run` goes on with, else a new one.

        A run goes on when its `run` event is the same but for the commit and it never ended as FINISHED.

        Args:
            folder: of the run.
            run: its `run` event.
            last_step: environment steps of the checkpoint that it goes on from; what was noted beyond is
                taken back. None: nothing is.
        """
        number = 0
        while True:
            path = Path(folder) / ("tracking.jsonl" if number == 0 else f"tracking_{number}.jsonl")
            number += 1
            try:
                journal = cls(path)
            except BlockingIOError:
                continue
            events = [event for event, _ in journal.events(0)]
            if not events:
                journal.append({"event": "run", "time_ms": time.time_ns() // 1_000_000, **run})
                return journal
            finished = events[-1].get("status") == "FINISHED"
            if not finished and _identity(events[0]) == _identity({"event": "run", **run}):
                if last_step is not None and any(event.get("step", 0) > last_step for event in events):
                    journal._cut_back(last_step)
                journal.append({"event": "resume"})
                return journal
            journal.close()

    def append(self, event: dict[str, Any]) -> None:
        """Write one event, from any thread; it survives the death of the process from here on."""
        with self._writing:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()

    def events(self, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Complete events from byte `offset` on, each with the offset behind it.

        A line torn by a killed writer, later continued by the next event, is passed over.
        """
        with open(self.path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    yield json.loads(line), offset
                except json.JSONDecodeError:
                    continue

    def first(self) -> dict[str, Any]:
        """The `run` event."""
        return next(self.events(0))[0]

    def mark_sent(self, run_id: str, offset: int) -> None:
        """Note that the store has everything before byte `offset`, under `run_id`."""
        self.run_id, self.sent_bytes = run_id, offset
        write_json_atomically(self._state_path, {"run_id": run_id, "sent_bytes": offset})

    def forget_store(self) -> None:
        """The store no longer knows this run: everything is to be sent again, as a new run."""
        self.run_id, self.sent_bytes = None, 0
        self._state_path.unlink(missing_ok=True)

    def _cut_back(self, last_step: int) -> None:
        """Drop what lies beyond a step. The store cannot forget points: it gets the rest as a new run."""
        kept = [event for event, _ in self.events(0) if event.get("step", 0) <= last_step]
        if self.run_id is not None:
            kept.insert(1, {"event": "supersedes", "run_id": self.run_id})
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(event) + "\n" for event in kept), encoding="utf-8")
        following = _locked(partial)
        self.forget_store()
        os.replace(partial, self.path)
        self._file.close()
        self._file = following

    def unsent(self) -> int:
        """Number of events that the store does not have yet."""
        return sum(1 for _ in self.events(self.sent_bytes))

    def close(self) -> None:
        """Let go of the journal."""
        self._file.close()


def _locked(path: Path) -> TextIO:
    """The file, open for appending, with its lock.

    Raises:
        BlockingIOError: when another process holds it.
    """
    file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (held, with its lock, until close)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def _identity(run: dict[str, Any]) -> dict[str, Any]:
    tags = {key: value for key, value in run["tags"].items() if key != "git_sha"}
    return {key: value for key, value in run.items() if key != "time_ms"} | {"tags": tags}
