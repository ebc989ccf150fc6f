"""MLflow: one parent run per pipeline run, one child per stage, recipe and seed.

Everything is written to a journal beside the run first and sent from there, so training neither waits for the
tracking store nor loses a number when the store is away.
"""

from pirl.tracking.tracker import RunTracker

__all__ = ["RunTracker"]
