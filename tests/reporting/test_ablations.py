"""The table of what each ablation is worth."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pirl.reporting import ablations
from tests.reporting.made_results import make_results


def lay_out(folder: Path) -> list[str]:
    configs = folder / "configs"
    configs.mkdir()
    for name, rate in (("control", 0.9), ("a_worse_one", 0.3), ("not_run", None)):
        (configs / f"{name}.yaml").write_text(f"# What {name}\n# changes.\ntrain: {{}}\n")
        if rate:
            rates = {"warm_start": 0.3, "pi_rl_flow_sde": rate}
            make_results(folder / "results" / name, rates=rates, videos=False)
    return [str(configs), "--results", str(folder / "results")]


def test_what_was_run_is_compared_with_the_control(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ablations", *lay_out(tmp_path)])
    ablations.main()
    control, worse = json.loads((tmp_path / "results" / "ablations.json").read_text())
    assert (control["name"], control["change"]) == ("control", "What control changes.")
    assert (control["won"], control["lost"]) == (0, 0)
    assert worse["name"] == "a_worse_one"
    assert worse["successes"] - control["successes"] == worse["won"] - worse["lost"] < 0
    assert worse["interval"][0] < worse["successes"] / worse["episodes"] < worse["interval"][1]
    assert f"{worse['successes']} of {worse['episodes']}" in capsys.readouterr().out


def test_without_a_control_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ablations", *lay_out(tmp_path)])
    (tmp_path / "results" / "control" / "pi_rl_flow_sde" / "smoke_wide.json").unlink()
    with pytest.raises(SystemExit, match=r"control/pi_rl_flow_sde/smoke_wide\.json: missing; make ablations"):
        ablations.main()
