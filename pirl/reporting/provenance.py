"""Where a report's numbers come from: commit, settings, data, versions, machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pirl.files import folder_hash
from pirl.tracking.revision import config_hash, git_dirty, git_sha

PACKAGES = ("lerobot", "torch", "mujoco", "robosuite", "numpy", "transformers", "snakemake", "dvc", "mlflow")


def collect_provenance(experiment: Mapping[str, Any], dataset: Path | None = None) -> dict[str, Any]:
    """Facts that identify a run.

    Args:
        experiment: the complete settings.
        dataset: folder of the demonstrations; left out when it is not there.
    """
    provenance: dict[str, Any] = {
        "git_sha": git_sha(),
        "git_dirty": git_dirty(),
        "config_hash": config_hash(experiment),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "machine": {
            "system": platform.platform(),
            "cpu": cpu_model(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
    }
    if dataset is not None and Path(dataset).is_dir():
        provenance["dataset_hash"] = folder_hash(Path(dataset))
    return provenance


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
