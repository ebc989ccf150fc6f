"""The report's figures, drawn so that they stay legible at the width of a phone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pirl.evaluation.statistics import mean_interval, wilson_interval
from pirl.experiment.recipes import REPLAY, WARM_START, split_seed
from pirl.reporting.comparison import PROTOCOL_LABELS
from pirl.reporting.results import LABELS, TEST_STAGES, RecipeResults, RunResults
from pirl.reporting.svg import Canvas

WIDTH = 460
MAX_POINTS = 160
# A learning curve is drawn from this many training episodes on.
FIRST_EPISODES = 10
HEAT_COLUMNS = 10


def all_figures(results: RunResults) -> dict[str, tuple[str, Canvas]]:
    """Every figure by file stem, with its title."""
    recipes, rows = results.recipes, results.rows
    return {
        "success": ("Success on the trained tasks", success_intervals(rows)),
        "curves_env_steps": ("Success against environment steps", learning_curves(recipes, "env_steps")),
        "curves_wall_time": ("Success against wall time", learning_curves(recipes, "wall_s")),
        "tasks": ("Success by task", task_heat_map(rows, tested_suites(rows))),
        "timings": ("Where time went", stage_times(results.timings_s, [recipe.path for recipe in rows])),
    }


def success_intervals(recipes: Sequence[RecipeResults]) -> Canvas:
    """Success rate of each policy with its Wilson 95 % interval, one panel per test."""
    tests = [name for name in PROTOCOL_LABELS if any(recipe.test(name) for recipe in recipes)]
    row, left, right = 30, 128, WIDTH - 58
    panel = 44 + row * len(recipes)
    canvas = Canvas(WIDTH, panel * len(tests) + 26)
    bottom = panel * len(tests) - 6
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + tick * (right - left)
        canvas.line(x, 26, x, bottom)
        canvas.text(x, bottom + 18, f"{100 * tick:.0f} %", anchor="middle")
    for number, protocol in enumerate(tests):
        top = number * panel
        canvas.text(0, top + 16, PROTOCOL_LABELS[protocol].capitalize(), weight=600, colour="ink")
        for index, recipe in enumerate(recipes):
            outcome = recipe.test(protocol)
            if outcome is None:
                continue
            y = top + 44 + index * row
            rate = outcome[0] / outcome[1]
            low, high = (left + bound * (right - left) for bound in wilson_interval(*outcome))
            canvas.text(0, y + 4, recipe.label, colour="ink")
            canvas.line(low, y, high, y, recipe.name, 3)
            canvas.dot(
                left + rate * (right - left), y, recipe.name, 5.5, f"{outcome[0]} of {outcome[1]} episodes"
            )
            canvas.text(WIDTH, y + 4, f"{100 * rate:.0f} %", anchor="end", colour="ink", weight=600)
    return canvas


def learning_curves(recipes: Sequence[RecipeResults], x_key: str) -> Canvas:
    """Rollout success against `env_steps` or `wall_s`, with a band over seeds where there are several."""
    canvas = Canvas(WIDTH, 300)
    left, right, top, bottom = 46, WIDTH - 12, 36, 254
    trained: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    for recipe in recipes:
        if recipe.training and recipe.training["curve"]:
            trained.setdefault(recipe.name, []).append(recipe.training["curve"])
    longest = max((curve[-1][x_key] for curves in trained.values() for curve in curves), default=1)
    ticks, scale, axis = _axis(longest, x_key)

    def place(x: float, rate: float) -> tuple[float, float]:
        return left + x / longest * (right - left), bottom - rate * (bottom - top)

    for rate in (0, 0.25, 0.5, 0.75, 1):
        y = place(0, rate)[1]
        canvas.line(left, y, right, y)
        canvas.text(left - 8, y + 4, f"{100 * rate:.0f}" + (" %" if rate == 1 else ""), anchor="end")
    for tick in ticks:
        canvas.text(place(tick, 0)[0], bottom + 18, scale(tick), anchor="middle")
    canvas.text((left + right) / 2, bottom + 38, axis, anchor="middle")
    canvas.legend([(name, LABELS[name]) for name in trained], left, 14)
    if not trained:
        canvas.text((left + right) / 2, (top + bottom) / 2, "no training episodes on record", anchor="middle")
    for name, curves in trained.items():
        xs, means, band = _over_seeds([_settled(curve) for curve in curves], x_key)
        if band is not None:
            lows, highs = (np.clip(edge, 0, 1) for edge in band)
            outline = [place(x, y) for x, y in zip(xs, highs, strict=True)]
            outline += [place(x, y) for x, y in zip(xs[::-1], lows[::-1], strict=True)]
            canvas.area(outline, name)
        canvas.path([place(x, y) for x, y in zip(xs, means, strict=True)], name)
        canvas.dot(
            *place(xs[-1], means[-1]), name, 3.5, f"{LABELS[name]}: {100 * means[-1]:.0f} % at the end"
        )
    return canvas


def tested_suites(recipes: Sequence[RecipeResults]) -> list[str]:
    """Suites of any recipe's suite test, in the order tested."""
    return list(dict.fromkeys(suite for recipe in recipes for suite in recipe.suites))


def task_heat_map(recipes: Sequence[RecipeResults], suites: Sequence[str]) -> Canvas:
    """Success by recipe (rows) and task (columns), one block per suite."""
    cell, row, left = 33, 24, 128
    blocks = []
    for suite in suites:
        tasks = sorted({int(task) for recipe in recipes for task in _tasks(recipe, suite)})
        for begin in range(0, len(tasks), HEAT_COLUMNS):
            blocks.append((suite, tasks[begin : begin + HEAT_COLUMNS]))
    block = 44 + row * len(recipes) + 18
    canvas = Canvas(WIDTH, max(block * len(blocks) - 12, 40))
    for number, (suite, tasks) in enumerate(blocks):
        top = number * block
        canvas.text(0, top + 16, suite, weight=600, colour="ink")
        for column, task in enumerate(tasks):
            canvas.text(left + (column + 0.5) * cell - 1, top + 34, str(task), anchor="middle", size=11)
        for index, recipe in enumerate(recipes):
            y = top + 42 + index * row
            canvas.text(0, y + 15, recipe.label, colour="ink")
            for column, task in enumerate(tasks):
                outcome = _tasks(recipe, suite).get(str(task))
                x = left + column * cell
                if outcome is None:
                    canvas.text(x + cell / 2 - 1, y + 15, "–", anchor="middle", size=11)
                    continue
                rate = outcome["successes"] / outcome["episodes"]
                tip = f"{recipe.label}, {suite} {task}, {outcome['language']}: " + (
                    f"{outcome['successes']} of {outcome['episodes']}"
                )
                canvas.rect(x, y, cell - 2, row - 2, "heat", opacity=0.08 + 0.92 * rate, title=tip)
                canvas.text(
                    x + cell / 2 - 1, y + 15, f"{100 * rate:.0f}", anchor="middle", size=11, colour="ink"
                )
    return canvas


def stage_times(timings_s: Mapping[str, float], recipes: Sequence[str]) -> Canvas:
    """Wall time by stage, each bar divided by recipe.

    Args:
        timings_s: wall seconds by stage.
        recipes: folders of the tested policies, in the order drawn.
    """
    stages: dict[str, dict[str, float]] = {}
    for stage, seconds in timings_s.items():
        kind, recipe = split_stage(stage, recipes)
        stages.setdefault(kind, {})[recipe or WARM_START] = seconds
    order = ["demos", REPLAY, "pointing", "pretrain", WARM_START, "train", "select", *TEST_STAGES]
    rows = sorted(stages.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
    row, left, right = 30, 92, WIDTH - 62
    canvas = Canvas(WIDTH, max(row * len(rows) + 6, 40))
    longest = max((sum(parts.values()) for _, parts in rows), default=1.0)
    for index, (kind, parts) in enumerate(rows):
        y = index * row
        canvas.text(0, y + 20, kind.replace("_", " "), colour="ink")
        x = float(left)
        for recipe in sorted(parts, key=list(recipes).index):
            width = parts[recipe] / longest * (right - left)
            colour = {"demos": "soft", REPLAY: REPLAY}.get(kind, split_seed(recipe)[0])
            canvas.rect(
                x,
                y + 7,
                width - 1,
                18,
                colour,
                opacity=0.9,
                title=f"{kind} {recipe}: {duration(parts[recipe])}",
            )
            x += width
        canvas.text(x + 6, y + 20, duration(sum(parts.values())), colour="ink")
    return canvas


def split_stage(stage: str, recipes: Sequence[str]) -> tuple[str, str | None]:
    """`train_sac` is the stage `train` of recipe `sac`; a stage without recipe comes back alone."""
    for recipe in recipes:
        if stage.endswith(f"_{recipe}"):
            return stage.removesuffix(f"_{recipe}"), recipe
    return stage, None


def duration(seconds: float) -> str:
    """Seconds for readers: `42 s`, `7 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _settled(curve: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Without the first points, whose share of few episodes says nothing; all of a very short curve."""
    return [point for point in curve if point["episodes"] >= FIRST_EPISODES] or curve


def _over_seeds(
    curves: Sequence[Sequence[Mapping[str, Any]]], x_key: str
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    """x [n], mean success [n] and, with several seeds, the 95 % interval of the mean ([n], [n])."""
    if len(curves) == 1:
        kept = np.unique(
            np.linspace(0, len(curves[0]) - 1, min(MAX_POINTS, len(curves[0]))).round().astype(int)
        )
        xs, rates = (np.array([float(curves[0][i][key]) for i in kept]) for key in (x_key, "success_rate"))
        return xs, rates, None
    first = max(curve[0][x_key] for curve in curves)
    last = min(curve[-1][x_key] for curve in curves)
    xs = np.linspace(first, last, MAX_POINTS)
    rates = np.stack(
        [
            np.interp(xs, [point[x_key] for point in curve], [point["success_rate"] for point in curve])
            for curve in curves
        ]
    )
    edges = np.array([mean_interval(list(column))[1] for column in rates.T])
    return xs, rates.mean(0), (edges[:, 0], edges[:, 1])


def _axis(longest: float, x_key: str) -> tuple[list[float], Callable[[float], str], str]:
    """Round tick positions from 0 to at most `longest`, their format, and the axis title."""
    if x_key == "env_steps":
        unit, title = 1.0, "environment steps"
    elif longest > 2 * 3600:
        unit, title = 3600.0, "wall time in hours"
    elif longest > 180:
        unit, title = 60.0, "wall time in minutes"
    else:
        unit, title = 1.0, "wall time in seconds"
    span = max(longest / unit, 1e-9)
    raw = span / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    ticks = [unit * step * number for number in range(math.floor(span / step + 1e-9) + 1)]

    def scale(value: float) -> str:
        value /= unit
        return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"

    return ticks, scale, title


def _tasks(recipe: RecipeResults, suite: str) -> dict[str, Any]:
    return recipe.suites.get(suite, {}).get("tasks", {})
