"""Print an experiment in full: bases merged, every default filled in.

python -m pirl.experiment configs/tiny/xvla.yaml
"""

from __future__ import annotations

import argparse
import sys

import yaml

from pirl.experiment.config import ExperimentError, load_experiment


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pirl.experiment", description=__doc__.splitlines()[0])
    parser.add_argument("config", help="configs/<run>.yaml")
    try:
        experiment = load_experiment(parser.parse_args().config)
    except ExperimentError as error:
        sys.exit(f"pirl.experiment: {error}")
    del experiment["run"]
    yaml.safe_dump(experiment, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
