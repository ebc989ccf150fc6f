"""The comparison of SAC with PI-RL in the real MLflow UI."""

from __future__ import annotations

from pathlib import Path

import pytest

from pirl.tracking import RunTracker
from pirl.tracking.browse import NO_ASSISTANT, learner_runs, serve, show_comparison, show_curves

NAMES = {"pi_rl_flow_sde": "loss/policy", "sac": "loss_actor"}


def learn(folder: Path, uri: str, recipe: str) -> None:
    """A learner's run, under the names that its algorithm gives to its numbers."""
    algorithm = "sac" if recipe == "sac" else "pi_rl"
    with RunTracker.for_stage(
        "smoke", stage="learner", recipe=recipe, algorithm=algorithm, seed=0, folder=folder, uri=uri
    ) as tracker:
        for step in range(100, 600, 100):
            tracker.log_metrics({"rollout/success_rate": step / 1000, NAMES[recipe]: 100 / step}, step)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_comparison_page_shows_both_curves(browser, tmp_path: Path, store_uri: str) -> None:
    for recipe in NAMES:
        learn(tmp_path / recipe, store_uri, recipe)
    runs = learner_runs(store_uri, "smoke")
    assert [run.info.run_name for run in runs] == [f"learner-{recipe}-seed0" for recipe in NAMES]
    with serve(store_uri) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(NO_ASSISTANT)
        show_comparison(page, address, runs)
        assert page.get_by_text("Comparing 2 Runs").is_visible()
        assert len(show_curves(page, address, runs, "loss/policy")) == 2
        for run in runs:
            assert page.get_by_text(run.info.run_name).first.is_visible()
        page.close()
