"""The glossary covers what the algorithms log."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pirl.tracking.names import LEROBOT_NAMES, METRICS, standard_metrics

ROOT = Path(__file__).resolve().parents[2]
LITERAL = re.compile(r"[\"']((?:loss|policy|rollout|advantage|value|grad_norm|lr|time)/[a-z_]+)[\"']")


def test_every_metric_that_pi_rl_and_the_runtime_log_is_explained() -> None:
    sources = [*ROOT.glob("pirl/algorithms/**/*.py"), *ROOT.glob("pirl/runtime/**/*.py")]
    logged = {name for source in sources for name in LITERAL.findall(source.read_text())}
    assert logged, "no metric found: has the way of naming them changed?"
    assert logged <= METRICS.keys()


def test_lerobots_names_lead_to_explained_ones() -> None:
    assert set(LEROBOT_NAMES.values()) <= METRICS.keys()


def test_the_manual_shows_the_glossary() -> None:
    manual = (ROOT / "docs" / "mlflow.md").read_text()
    for name, metric in METRICS.items():
        assert f"| `{name}` | {metric.unit} | {metric.meaning} |" in manual


@given(st.text(max_size=30))
def test_names_hold_only_what_mlflow_takes(name: str) -> None:
    (renamed,) = standard_metrics({name: 1.0})
    assert re.fullmatch(r"[\w./ -]*", renamed)
