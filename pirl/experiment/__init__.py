"""An experiment: one YAML file from which every stage takes its settings."""

from pirl.experiment.config import ExperimentError, load_experiment

__all__ = ["ExperimentError", "load_experiment"]
