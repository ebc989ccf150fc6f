"""A process under supervision: in a group of its own, with a log, killed when its parent is."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pirl.allocation import KEEP_BUFFERS

PR_SET_PDEATHSIG = 1
# Exit status of a process that ended on purpose: a restart would meet the same again.
EXIT_STOPPED = 3


def die_with_parent() -> None:
    """Have this process killed as soon as the one that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _in_own_group() -> None:
    """Runs in the child before exec."""
    os.setpgid(0, 0)
    die_with_parent()


@dataclass
class Child:
    """One supervised process and its log file."""

    name: str
    process: subprocess.Popen
    log: Path

    @classmethod
    def start(
        cls, name: str, module: str, flags: Sequence[str], log: Path, environment: dict[str, str]
    ) -> Child:
        """Run a Python module.

        Args:
            name: what messages call it.
            module: run as `python -m`.
            flags: its command line.
            log: both of its outputs are appended here.
            environment: variables beside this process's own.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=KEEP_BUFFERS | os.environ | environment,
                preexec_fn=_in_own_group,
            )
        return cls(name, process, log)

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """Kill whatever is left of the process group, the process's own children included."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def rank_environments(processes: int, threads: int) -> list[dict[str, str]]:
    """What torch.distributed reads in each of some processes that compute together on this machine.

    Args:
        processes: how many; alone, one is kept from joining what a cluster has set for its own job.
        threads: of each.
    """
    if processes == 1:
        return [{"WORLD_SIZE": "1"}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": port, "OMP_NUM_THREADS": threads}
    return [
        {key: str(value) for key, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
        for rank in range(processes)
    ]
