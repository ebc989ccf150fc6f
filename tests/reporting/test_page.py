"""The page: self-contained, complete, and its small pieces."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest

from pirl.reporting.page import caption_html, interval, load_captions, points, render_page, suite_rows
from pirl.reporting.provenance import collect_provenance, folder_hash
from pirl.reporting.results import ReportError, load_results
from tests.reporting.made_results import make_results

ROOT = Path(__file__).resolve().parents[2]
TRAINED = ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]
EXPERIMENT = {"run": "made", "suite": "libero_object", "task_ids": [0, 3, 9], "seed": 0}


class _Page(html.parser.HTMLParser):
    """Collects addresses and checks that elements close."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def _render(folder: Path, **options) -> str:
    results = load_results(make_results(folder, **options), TRAINED)
    return render_page(
        EXPERIMENT, results, collect_provenance(EXPERIMENT), load_captions(ROOT / "workflow" / "report")
    )


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text = _render(tmp_path)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"@import|url\(", text)
    assert "<script" not in text


def test_the_page_shows_everything(tmp_path: Path) -> None:
    text = _render(tmp_path, tasks=2)
    for words in (
        "Outcome",
        "Learning",
        "Suites",
        "Tasks",
        "Episodes",
        "Where time went",
        "Protocol",
        "Provenance",
        "Blind replay",
        "Official initial states, stock rendering",
        "5 per task in turn",
        "Warm start",
        "PI-RL Flow-SDE",
        "PI-RL Flow-Noise",
        "SAC",
        "libero_10",
        "Wilson",
        "0026000",
        "put both the alphabet soup",
        "prefers-color-scheme: dark",
    ):
        assert words in text, words
    assert text.count("data:image/gif") == 8
    without = _render(tmp_path / "plain", videos=False, wide=False, tasks=1)
    assert "<h2>Episodes</h2>" not in without
    assert "wide starts" not in without


def test_the_floor_stands_in_every_table_of_outcomes(tmp_path: Path) -> None:
    text = _render(tmp_path, tasks=2, videos=False)
    outcomes = [table for table in re.findall(r"<table.*?</table>", text, re.S) if "Warm start" in table]
    # Three tests on the trained tasks, the suites, and the counts of every task of four suites.
    assert len(outcomes) == 3 + 1 + 4
    assert all("Blind replay" in table for table in outcomes)


def test_a_floor_that_could_not_be_measured_shows_a_dash(tmp_path: Path) -> None:
    folder = make_results(tmp_path, tasks=1, videos=False)
    for test in ("smoke", "smoke_wide", "suites"):
        path = folder / "replay" / f"{test}.json"
        nothing = {**json.loads(path.read_text()), "suites": {}, "average_success_rate": None}
        path.write_text(json.dumps(nothing))
    results = load_results(folder, TRAINED)
    assert results.replay.test("smoke") is None
    captions = load_captions(ROOT / "workflow" / "report")
    text = render_page(EXPERIMENT, results, collect_provenance(EXPERIMENT), captions)
    assert "Blind replay of demonstrations succeeds" not in text
    assert "not tested" in text


def test_names_from_files_cannot_break_the_page(tmp_path: Path) -> None:
    folder = make_results(tmp_path, tasks=1, videos=False)
    path = folder / "sac" / "suites.json"
    path.write_text(path.read_text().replace("pick up the alphabet soup", "<script>alert(1)</script>"))
    results = load_results(folder, TRAINED)
    text = render_page(
        EXPERIMENT, results, collect_provenance(EXPERIMENT), load_captions(ROOT / "workflow/report")
    )
    assert "<script" not in text


def test_bold_only_where_intervals_separate(tmp_path: Path) -> None:
    rates = {"warm_start": 0.0, "pi_rl_flow_sde": 1.2, "pi_rl_flow_noise": 0.1, "sac": 0.0}
    clear = load_results(make_results(tmp_path / "clear", rates=rates, tasks=10, videos=False), TRAINED)
    best = {
        row["recipe"].name
        for row in suite_rows(clear.recipes)["rows"]
        for cell in row["cells"]
        if cell["best"]
    }
    assert best == {"pi_rl_flow_sde"}
    same = dict.fromkeys(rates, 0.5)
    close = load_results(make_results(tmp_path / "close", rates=same, alike=True, videos=False), TRAINED)
    assert not any(cell["best"] for row in suite_rows(close.recipes)["rows"] for cell in row["cells"])


def test_captions_are_the_ones_that_snakemake_shows() -> None:
    captions = load_captions(ROOT / "workflow" / "report")
    assert {
        "success",
        "curves_env_steps",
        "curves_wall_time",
        "suites",
        "tasks",
        "timings",
        "videos",
    } <= captions.keys()
    assert caption_html("a ``b`` *c*\n& d\n\ne") == "<p>a <code>b</code> <em>c</em> &amp; d</p><p>e</p>"


def test_a_folder_without_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no captions"):
        load_captions(tmp_path)


def test_numbers_for_readers() -> None:
    assert [points(share) for share in (0.123, -0.2, 0.001)] == ["+12", "\u221220", "0"]
    assert interval((0.704, 0.931)) == "70 to 93"


def test_provenance_identifies_data_and_settings(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = folder_hash(tmp_path)
    provenance = collect_provenance(EXPERIMENT, tmp_path)
    assert provenance["dataset_hash"] == before
    assert provenance["versions"]["lerobot"] == "0.6.1"
    assert "dataset_hash" not in collect_provenance(EXPERIMENT, tmp_path / "absent")
    assert collect_provenance({**EXPERIMENT, "seed": 1})["config_hash"] != provenance["config_hash"]
    (tmp_path / "a").write_text("2")
    assert folder_hash(tmp_path) != before
