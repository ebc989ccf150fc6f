"""The machine's load, sampled into a run's journal under MLflow's own names (`system/...`).

MLflow's `SystemMetricsMonitor` writes to the store itself and ends at the first error; its monitors do the
measuring here, and the journal the rest.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

PREFIX = "system/"
# MLflow's own setting, seconds.
INTERVAL_VARIABLE = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


class LoadSampler:
    """Calls `log` with processor, memory, disk, network and GPU load every ten seconds, from a thread."""

    def __init__(self, log: Callable[[Mapping[str, float]], None]) -> None:
        self._log = log
        self._every_s = float(os.environ.get(INTERVAL_VARIABLE) or 10.0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sample no more; `log` is not called after this returns."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        if self._stopping.wait(self._every_s):
            return
        monitors = _monitors()
        while True:
            values: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                values |= {f"{PREFIX}{name}": value for name, value in monitor.aggregate_metrics().items()}
                monitor.clear_metrics()
            self._log(values)
            if self._stopping.wait(self._every_s):
                return


def _monitors() -> list[Any]:
    # Imported late: it takes seconds.
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # there is no GPU of NVIDIA's
        monitors.append(GPUMonitor())
    return monitors
