"""The report as one HTML page that needs nothing else: no network, no neighbouring file."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pirl.evaluation.statistics import mean_interval
from pirl.experiment.recipes import WARM_START
from pirl.reporting.comparison import (
    PROTOCOL_LABELS,
    compare_with_warm_start,
    headline,
    headline_comparison,
    over_seeds,
)
from pirl.reporting.figures import all_figures, duration, task_heat_map, tested_suites
from pirl.reporting.results import LABELS, RecipeResults, ReportError, RunResults
from pirl.reporting.svg import palette_css

TEMPLATE = Path(__file__).with_name("report.html.j2")
LARGEST_VIDEO = 2_000_000  # bytes
ALL_VIDEOS = 16_000_000


def render_page(
    experiment: Mapping[str, Any],
    results: RunResults,
    provenance: Mapping[str, Any],
    captions: Mapping[str, str],
) -> str:
    """The page.

    Args:
        experiment: the complete settings.
        results: of all stages.
        provenance: from `collect_provenance`.
        captions: from `load_captions`.
    """
    comparisons = {protocol: compare_with_warm_start(results, protocol) for protocol in PROTOCOL_LABELS}
    first = headline_comparison({protocol: over_seeds(found) for protocol, found in comparisons.items()})
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "duration": duration,
        "interval": interval,
        "thousands": lambda number: f"{number:,}".replace(",", "\u202f"),
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=experiment["run"],
        experiment=experiment,
        headline=headline(first).replace("-", "\u2011"),
        first=first,
        starts=PROTOCOL_LABELS[first.protocol] if first else "",
        floor=results.replay.test(first.protocol) if first else None,
        comparisons=[
            {
                "label": PROTOCOL_LABELS[protocol],
                "untrained": [(row, row.test(protocol)) for row in (results.replay, results.warm_start)],
                "rows": over_seeds(found),
            }
            for protocol, found in comparisons.items()
            if found
        ],
        recipes=results.rows,
        suites=suite_rows(results.rows),
        averages=averages_over_seeds(results.recipes),
        tasks=task_rows(results.rows),
        training=training_rows(results.recipes),
        candidates=[recipe for recipe in results.recipes if recipe.selected["candidates"]],
        videos=video_rows(results.recipes),
        total_s=sum(results.timings_s.values()),
        protocol=protocol_table(results.recipes),
        replay_rule=results.replay.selected["rule"],
        provenance=flat_provenance(provenance),
        figures={
            stem: Markup(canvas.render(title, standalone=False))
            for stem, (title, canvas) in all_figures(results).items()
        },
        heat_maps=[
            Markup(task_heat_map(results.rows, [suite]).render(f"Success by task, {suite}", standalone=False))
            for suite in tested_suites(results.rows)
        ],
        captions={name: caption_html(text) for name, text in captions.items()},
        palette=Markup(palette_css()),
    )


def load_captions(folder: Path) -> dict[str, str]:
    """Captions by file stem; the same files serve Snakemake's own report.

    Raises:
        ReportError: when the folder holds none.
    """
    captions = {
        path.stem: path.read_text(encoding="utf-8").strip() for path in sorted(Path(folder).glob("*.rst"))
    }
    if not captions:
        raise ReportError(f"{folder}: no captions (*.rst) here; give the folder workflow/report")
    return captions


def caption_html(text: str) -> Markup:
    """A caption's paragraphs, with ``code`` and *emphasis*, as HTML."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        line = escape(" ".join(paragraph.split()))
        line = re.sub(r"``(.+?)``", r"<code>\1</code>", line)
        paragraphs.append(f"<p>{re.sub(r'[*](.+?)[*]', r'<em>\1</em>', line)}</p>")
    return Markup("".join(paragraphs))


def suite_rows(recipes: Sequence[RecipeResults]) -> dict[str, Any]:
    """The suite table: names of the suites, one row per recipe, and where a best one may be named."""
    names = tested_suites(recipes)
    best = {
        name: _separate_best({r.path: r.suites[name]["ci95"] for r in recipes if name in r.suites})
        for name in names
    }
    rows = []
    for recipe in recipes:
        cells = []
        for name in names:
            suite = recipe.suites.get(name)
            cells.append({"suite": name, "best": best[name] == recipe.path, "result": suite})
        rows.append({"recipe": recipe, "cells": cells, "average": recipe.average})
    return {"names": names, "rows": rows}


def averages_over_seeds(recipes: Sequence[RecipeResults]) -> list[dict[str, Any]]:
    """Each recipe's average over suites as a mean over its seeds, with Student's interval."""
    found: dict[str, list[float]] = {}
    for recipe in recipes:
        if recipe.seed is not None and recipe.average is not None:
            found.setdefault(recipe.name, []).append(recipe.average)
    rows = []
    for name, averages in found.items():
        mean, bounds = mean_interval(averages)
        rows.append({"name": name, "label": LABELS[name], "mean": mean, "interval": bounds})
    return rows


def task_rows(recipes: Sequence[RecipeResults]) -> dict[str, list[dict[str, Any]]]:
    """For each suite, each task's sentence and its counts by recipe."""
    suites: dict[str, dict[str, dict[str, Any]]] = {}
    for recipe in recipes:
        for suite, outcome in recipe.suites.items():
            for task, counts in outcome["tasks"].items():
                row = suites.setdefault(suite, {}).setdefault(
                    task, {"task": task, "language": counts["language"], "counts": {}}
                )
                row["counts"][recipe.path] = f"{counts['successes']}/{counts['episodes']}"
    return {suite: [rows[task] for task in sorted(rows, key=int)] for suite, rows in suites.items()}


def training_rows(recipes: Sequence[RecipeResults]) -> list[dict[str, Any]]:
    """One row per training run: what it used and how its time was shared."""
    return [
        {
            "label": recipe.label,
            "name": recipe.name,
            "run": run,
            "steps_per_s": run["env_steps"] / run["wall_s"] if run["wall_s"] else 0.0,
            "timings": {key.replace("_", " "): seconds for key, seconds in run.get("timings_s", {}).items()},
        }
        for recipe in recipes
        if (run := recipe.training)
    ]


def video_rows(recipes: Sequence[RecipeResults]) -> list[dict[str, Any]]:
    """Recorded episodes, those of the same episode side by side, embedded while they are small enough.

    Episodes that the warm start fails and a trained policy solves come first.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    embedded = 0
    for recipe in recipes:
        for path in recipe.videos:
            size = path.stat().st_size
            if size > LARGEST_VIDEO or embedded + size > ALL_VIDEOS:
                continue
            embedded += size
            episode, _, outcome = path.stem.rpartition("_")
            if outcome not in ("success", "failure"):
                episode, outcome = path.stem, ""
            kind = "video/mp4" if path.suffix == ".mp4" else "image/gif"
            data = base64.b64encode(path.read_bytes()).decode()
            rows.setdefault(episode, []).append(
                {
                    "recipe": recipe,
                    "outcome": outcome,
                    "moving": path.suffix == ".mp4",
                    "source": f"data:{kind};base64,{data}",
                }
            )
    titled = [
        {"episode": _episode_title(episode), "videos": videos, "turned": _turned(videos)}
        for episode, videos in rows.items()
    ]
    return sorted(titled, key=lambda row: not row["turned"])


def _turned(videos: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the warm start fails the episode and a trained policy solves it."""
    before = [video["outcome"] for video in videos if video["recipe"].name == WARM_START]
    after = [video["outcome"] for video in videos if video["recipe"].name != WARM_START]
    return before == ["failure"] and "success" in after


def _episode_title(stem: str) -> str:
    """`libero_object_3_official1` as readers say it; other names as they are."""
    parts = re.fullmatch(r"(.+)_(\d+)_([a-z]+)(\d+)", stem)
    return "{}, task {}, {} start {}".format(*parts.groups()) if parts else stem


def flat_provenance(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Provenance as labels and texts."""
    flat: dict[str, str] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            flat |= {name.replace("_", " "): str(entry) for name, entry in value.items() if entry is not None}
        elif key == "git_dirty":
            flat["working tree"] = {None: "unknown", True: "with uncommitted changes", False: "clean"}[value]
        else:
            flat[
                {"git_sha": "commit", "config_hash": "settings", "dataset_hash": "demonstrations"}.get(
                    key, key
                )
            ] = str(value)
    return flat


def percent(share: float) -> str:
    """`85 %` with a narrow no-break space."""
    return f"{100 * share:.0f}\u202f%"


def points(share: float) -> str:
    """A signed difference in percentage points."""
    rounded = round(100 * share)
    return "0" if rounded == 0 else f"{rounded:+d}".replace("-", "\u2212")


def interval(bounds: Sequence[float], signed: bool = False) -> str:
    """`70 to 93`, in percent or percentage points."""
    low, high = (points(bound) if signed else f"{100 * bound:.0f}" for bound in bounds)
    return f"{low} to {high}"


def _separate_best(intervals: Mapping[str, Sequence[float]]) -> str | None:
    """The recipe whose interval lies above all others; None when there is none."""
    ranked = sorted(intervals, key=lambda name: intervals[name][0])
    if len(ranked) < 2:
        return None
    best = ranked[-1]
    above = all(intervals[other][1] < intervals[best][0] for other in ranked[:-1])
    return best if above else None


def protocol_table(recipes: Sequence[RecipeResults]) -> dict[str, Any]:
    """How episodes were run: names of the tests, and for each item one value per test, or one for all."""
    names = {
        "Trained tasks": "smoke",
        "Wide starts": "smoke_wide",
        "Stock rendering": "smoke_exact",
        "Suites": "suites",
        "Selection": "selection",
    }
    protocols: dict[str, dict[str, dict[str, Any]]] = {}
    for name, test in names.items():
        for recipe in recipes:
            outcome = {**recipe.tests, "selection": recipe.selected}.get(test, {})
            if "protocol" in outcome:
                protocols.setdefault(name, {})[LABELS[recipe.name]] = outcome["protocol"]
    rows = {}
    items = dict.fromkeys(item for test in protocols.values() for one in test.values() for item in one)
    for item in items:
        values = [
            _shared({label: one.get(item, "–") for label, one in test.items()}) for test in protocols.values()
        ]
        rows[item.replace("_", " ")] = values if len(set(values)) > 1 else values[:1]
    return {"names": list(protocols), "rows": rows}


def _shared(values: Mapping[str, Any]) -> str:
    """A value that all recipes share, or each one with those that have it."""
    holders: dict[str, list[str]] = {}
    for label, value in values.items():
        holders.setdefault(_readable(value), []).append(label)
    if len(holders) == 1:
        return next(iter(holders))
    return "; ".join(f"{value} ({', '.join(labels)})" for value, labels in holders.items())


def _readable(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
