"""Real learner and actors through what goes wrong in hours of training, one fault at a time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.runtime.test_chaos import env_steps, run_file

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

ABSENCE_S = 60.0
OVERLOAD_S = 600.0
MIB = 2**20


@contextmanager
def process(
    module: str, path: Path, port: int, log: Path, *flags: str, namespace: str | None = None
) -> Iterator[subprocess.Popen]:
    """One process of the runtime in a group of its own, killed with all its children at the end."""
    command = ["ip", "netns", "exec", namespace] if namespace else []
    command += [sys.executable, "-m", f"pirl.runtime.{module}", "--config_path", str(path)]
    with open(log, "ab") as output:
        started = subprocess.Popen(
            [*command, f"--transport.port={port}", *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def change(path: Path, **sections: dict) -> None:
    """Replace settings in a run file: keys of a section, or a value."""
    settings = json.loads(path.read_text())
    for name, value in sections.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(settings))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def listens(folder: Path) -> bool:
    return (folder / "run" / "learner.json").is_file()


def resident_mib(pid: int) -> float:
    """Resident memory of one process, MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def summary(folder: Path) -> dict:
    return json.loads((folder / "run" / "train.json").read_text())


def assert_nothing_lost_or_doubled(summary: dict) -> None:
    assert summary["repeated_episodes"] == summary["missing_episodes"] == 0
    assert summary["refused_messages"] == 0


def test_the_learner_gone_for_a_minute(tmp_path, start_policy):
    """Actors hold a bounded number of episodes back, wait, and go on with the learner that comes back."""
    path, port, log = run_file(tmp_path, start_policy), free_port(), tmp_path / "log.txt"
    change(path, actors=1, rollout={"synchronous": False}, budget={"env_steps": 3000, "checkpoints": 30})
    change(path, transport={"max_queued_messages": 8})
    with process("actor", path, port, log) as actor:
        with process("learner", path, port, log) as learner:
            wait_for(lambda: env_steps(tmp_path) > 400)
            learner.kill()
            learner.wait()
        (tmp_path / "run" / "learner.json").unlink(missing_ok=True)
        before = resident_mib(actor.pid)
        time.sleep(ABSENCE_S)
        assert actor.poll() is None, log.read_text()
        # Eight queued episodes of four decisions, with pictures before and after: 0.8 MiB, and slack.
        assert resident_mib(actor.pid) - before < 32
        with process("learner", path, port, log, "--resume=true") as learner:
            assert learner.wait(timeout=900) == 0, log.read_text()
        assert actor.wait(timeout=60) == 0
    assert summary(tmp_path)["env_steps"] >= 3000
    assert_nothing_lost_or_doubled(summary(tmp_path))


def test_actors_join_and_leave(tmp_path, start_policy):
    """A second and a third actor join a run; one leaves cleanly, one is killed; the first goes on."""
    path, port, log = run_file(tmp_path, start_policy), free_port(), tmp_path / "log.txt"
    change(path, actors=3, rollout={"synchronous": False}, budget={"env_steps": 6000, "checkpoints": 2})
    logs = tmp_path / "run" / "logs"

    def sends(actor: int) -> bool:
        file = logs / f"actor_{actor}.log"
        return file.is_file() and "steps (weights" in file.read_text()

    with (
        process("learner", path, port, log) as learner,
        process("actor", path, port, log, "--actor_id=0") as first,
    ):
        wait_for(lambda: sends(0))
        with (
            process("actor", path, port, log, "--actor_id=1") as second,
            process("actor", path, port, log, "--actor_id=2") as third,
        ):
            wait_for(lambda: sends(1) and sends(2))
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=60) == 0, log.read_text()
            os.killpg(third.pid, signal.SIGKILL)
        before = env_steps(tmp_path)
        wait_for(lambda: env_steps(tmp_path) > before + 100)
        assert learner.wait(timeout=900) == 0, log.read_text()
        assert first.wait(timeout=60) == 0
    assert_nothing_lost_or_doubled(summary(tmp_path))


def test_a_port_already_taken_is_said_in_one_line(tmp_path, start_policy):
    path, log = run_file(tmp_path, start_policy), tmp_path / "log.txt"
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        with process("learner", path, port, log) as learner:
            assert learner.wait(timeout=120) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"pirl-learner: transport.port: cannot listen on 127.0.0.1:{port}"), last


def test_memory_is_bounded_under_overload(tmp_path, start_policy):
    """Two actors collect ten times faster than the learner learns, for ten minutes."""
    path, port, log = run_file(tmp_path, start_policy), free_port(), tmp_path / "log.txt"
    change(path, actors=2, rollout={"synchronous": False}, budget={"env_steps": 10**7, "checkpoints": 1})
    change(path, algorithm={"epochs": 50, "target_kl": None}, buffer={"online_capacity": 500})
    with (
        process("learner", path, port, log) as learner,
        process("actor", path, port, log, "--actor_id=0") as one,
        process("actor", path, port, log, "--actor_id=1") as other,
    ):
        processes = (learner, one, other)
        wait_for(lambda: env_steps(tmp_path) > 1000)  # queues and buffer are full, caches are warm
        before = [resident_mib(p.pid) for p in processes]
        peaks, until = list(before), time.monotonic() + OVERLOAD_S
        while time.monotonic() < until:
            time.sleep(1.0)
            assert all(p.poll() is None for p in processes), log.read_text()
            peaks = [max(peak, resident_mib(p.pid)) for peak, p in zip(peaks, processes, strict=True)]
        growth = [peak - first for peak, first in zip(peaks, before, strict=True)]
        print(f"{env_steps(tmp_path)} steps taken, growth in MiB (learner, actor, actor): {growth}")
        # 64 queued episodes of four decisions are 7 MiB; the rest is the allocator's.
        assert max(growth) < 100
        learner.send_signal(signal.SIGTERM)  # heard after the update in hand
        assert learner.wait(timeout=600) == 0, log.read_text()
        assert [actor.wait(timeout=60) for actor in (one, other)] == [0, 0]
    assert_nothing_lost_or_doubled(summary(tmp_path))
