"""A real Slurm of one node, on this machine and for one command, with all its state in a temporary folder.

    python -m tests.workflow.one_node_slurm make slurm CONFIG=configs/smoke.yaml

Needs Debian's `slurm-wlm` and `munge`, and no rights beyond the user's own.
"""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
# What the node claims: enough for the profile's largest job, whatever this machine really has.
CPUS, MEMORY_MB = 8, 32000
START_S = 60.0

CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb}
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Programs that Slurm needs and that are not installed."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd; yield the variables that Slurm's commands need; stop all three.

    Args:
        folder: for sockets, state and logs; its path must be short, since a socket lies in it.

    Raises:
        RuntimeError: when Slurm does not start or end in time; holds the ends of the logs.
    """
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key, configuration = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=host,
            user=getpass.getuser(),
            controller_port=_free_port(),
            node_port=_free_port(),
            cpus=CPUS,
            memory_mb=MEMORY_MB,
        )
    )
    # Snakemake takes SLURM_CONF away from the `srun` inside a job: a wrapper gives it back.
    wrapper = folder / "bin" / "srun"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"SLURM_CONF": str(configuration), "PATH": path}
    # A folder below /tmp is writable for others, which munged refuses without --force.
    munged = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munged += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    with ExitStack() as daemons:
        daemons.enter_context(_daemon(folder, variables, "munged", *munged))
        _wait_for((folder / "munge.socket").exists, folder)
        daemons.enter_context(_daemon(folder, variables, "slurmctld", "-D"))
        daemons.enter_context(_daemon(folder, variables, "slurmd", "-D", "-N", host))
        _wait_for(lambda: _slurm(variables, "sinfo", "--noheader", "--format=%T") == "idle", folder)
        try:
            yield variables
        finally:
            _slurm(variables, "scancel", f"--user={getpass.getuser()}")
            _wait_for(lambda: not _slurm(variables, "squeue", "--noheader"), folder)


@contextmanager
def _daemon(folder: Path, variables: dict[str, str], program: str, *flags: str) -> Iterator[None]:
    with open(folder / f"{program}.out", "wb") as output:
        process = subprocess.Popen(
            [str(_program(program)), *flags],
            env=os.environ | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _slurm(variables: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True).stdout.strip()


def _wait_for(condition, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in folder.glob("*.out"))
            raise RuntimeError(f"Slurm did not start or end within {START_S:.0f} s\n{logs}")
        time.sleep(0.2)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    """Run a command on a cluster that lives as long as it does."""
    if missing := missing_programs():
        sys.exit(f"{', '.join(missing)}: not installed; apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, one_node_slurm(Path(folder)) as variables:
        return subprocess.run(sys.argv[1:], env=os.environ | variables).returncode


if __name__ == "__main__":
    sys.exit(main())
