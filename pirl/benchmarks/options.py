"""Options that the benchmarks of a policy share."""

from __future__ import annotations

import argparse
from pathlib import Path


def policy_parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--config` and `--policy`; its help keeps the description's lines."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("configs/smoke.yaml"))
    parser.add_argument(
        "--policy", type=Path, help="policy folder; default: the warm start in results/<run>/"
    )
    return parser


def chosen_policy(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Path:
    """The folder of the policy that is measured; ends the command where there is none."""
    policy = arguments.policy or Path("results") / arguments.config.stem / "warm_start" / "policy"
    if not (policy / "config.json").is_file():
        parser.error(f"--policy: no policy in {policy}; `make smoke` makes one")
    return policy
