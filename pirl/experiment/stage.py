"""What every stage script shares: its experiment, its wall time on record, and errors in one line."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pirl.experiment.config import load_experiment
from pirl.files import write_json_atomically, write_text_atomically


def stage_parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the two arguments that every stage takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="experiment, e.g. configs/default.yaml")
    parser.add_argument(
        "--results", type=Path, default=None, help="results folder (default: results/<stem of the config>)"
    )
    return parser


@contextmanager
def stage(name: str, arguments: argparse.Namespace) -> Iterator[tuple[dict[str, Any], Path]]:
    """Run a stage's body: yields the experiment and the results folder, then records the wall time.

    Errors that a user can mend (wrong value, missing file, failed process) end the program with one line
    and exit status 1; the traceback goes to `<results>/logs/<name>.traceback`.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    results = arguments.results or Path("results") / arguments.config.stem
    began = time.perf_counter()
    try:
        yield load_experiment(arguments.config), results
    except (ValueError, OSError, RuntimeError) as error:
        details = results / "logs" / f"{name}.traceback"
        write_text_atomically(details, traceback.format_exc())
        sys.exit(f"{name}: {error} (details: {details})")
    write_json_atomically(
        results / "timings" / f"{name}.json", {"stage": name, "wall_s": time.perf_counter() - began}
    )
