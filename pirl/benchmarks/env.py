"""Speed of the LIBERO environment against stock LeRobot's, on this machine, in the same run.

`python -m pirl.benchmarks.env [--runs 5] [--out results/bench/env.json]`

Every variant runs in a process of its own and replays the scripted expert's episode (`libero_object` task 0)
with an observation after every chunk of 8; the variants take turns, so that a busy machine slows all of them.
Rates are control steps per second with the reset included; ratios are medians over the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import mujoco
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pirl.envs.simulation import LiberoSimulation
from pirl.envs.starts import Start
from pirl.envs.workers import EnvWorkers

SUITE, TASK_ID = "libero_object", 0
CHUNK = 8
START = Start("official")
TWO_CAMERAS = {"cameras": ("agentview", "robot0_eye_in_hand"), "height": 256, "width": 256}
ONE_CAMERA = {"cameras": ("agentview",), "height": 128, "width": 128}
WORKER_EPISODES = 16

_env: Any = None


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench/env.json"))
    arguments = parser.parse_args()
    figures = measure(arguments.runs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    Console().print(table(figures))
    Console().print(f"written to {arguments.out}")


def measure(runs: int) -> dict[str, Any]:
    """Run all variants `runs` times in turn.

    Returns:
        Ratios, and under `raw` the medians of what they are made of.
    """
    variants: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
        "stock": (open_stock, TWO_CAMERAS),
        "exact": (open_ours, {"fidelity": "exact", **TWO_CAMERAS}),
        "fast": (open_ours, {"fidelity": "fast", **TWO_CAMERAS}),
        "stock_one_camera": (open_stock, ONE_CAMERA),
        "fast_one_camera": (open_ours, {"fidelity": "fast", **ONE_CAMERA}),
    }
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, context)) for name in variants}
        startup = {}
        for name, (opener, settings) in variants.items():
            began = time.perf_counter()
            pools[name].submit(opener, settings).result()
            startup[name] = time.perf_counter() - began
        actions = pools["exact"].submit(expert_actions).result()
        episodes: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        physics = []
        for _ in track(range(runs), "environment"):
            for name in variants:
                run = run_stock if name.startswith("stock") else run_ours
                episodes[name].append(pools[name].submit(run, actions).result())
            physics.append(pools["fast"].submit(step_over_physics, actions).result())
    one, two = worker_rates(actions, runs)
    return summarise(len(actions), startup, episodes, physics, one, two)


def summarise(
    length: int,
    startup: dict[str, float],
    episodes: dict[str, list[tuple[float, float]]],
    physics: list[tuple[float, float]],
    one: list[float],
    two: list[float],
) -> dict[str, Any]:
    """Medians and medians of paired ratios.

    Args:
        length: control steps per episode.
        startup: seconds from starting a process to its first observation, by variant.
        episodes: (reset, steps) in seconds, by variant and run.
        physics: (control step, 25 bare physics steps) in seconds, by run.
        one: control steps per second of one worker, by run.
        two: control steps per second of two workers together, by run.
    """

    def seconds(name: str) -> np.ndarray:
        return np.sum(episodes[name], axis=1)

    def resets(name: str) -> np.ndarray:
        return np.array(episodes[name])[:, 0]

    return {
        "exact_ratio": median(seconds("stock") / seconds("exact")),
        "fast_ratio": median(seconds("stock") / seconds("fast")),
        "fast_ratio_one_camera": median(seconds("stock_one_camera") / seconds("fast_one_camera")),
        "reset_ratio": median(resets("stock") / resets("exact")),
        "two_workers_ratio": median(np.array(two) / np.array(one)),
        "step_over_physics": median(step / bare for step, bare in physics),
        "runs": len(physics),
        "raw": {
            "episode_steps": length,
            "steps_per_second": {name: length / median(seconds(name)) for name in episodes},
            "reset_s": {name: median(resets(name)) for name in episodes},
            "process_start_to_first_observation_s": startup,
            "step_without_images_ms": 1e3 * median(step for step, _ in physics),
            "bare_physics_ms": 1e3 * median(bare for _, bare in physics),
            "one_worker_steps_per_second": median(one),
            "two_workers_steps_per_second": median(two),
            "cpu_count": os.cpu_count(),
            "mujoco": mujoco.__version__,
        },
    }


def table(figures: dict[str, Any]) -> Table:
    """What the console shows."""
    raw = figures["raw"]
    result = Table(title=f"LIBERO, {SUITE} task {TASK_ID}, {figures['runs']} runs, {raw['cpu_count']} cores")
    for column in ("variant", "steps/s", "reset s", "start s", "against stock"):
        result.add_column(column, justify="left" if column == "variant" else "right")
    ratios = {
        "exact": figures["exact_ratio"],
        "fast": figures["fast_ratio"],
        "fast_one_camera": figures["fast_ratio_one_camera"],
    }
    for name, rate in raw["steps_per_second"].items():
        result.add_row(
            name.replace("_", " "),
            f"{rate:.1f}",
            f"{raw['reset_s'][name]:.2f}",
            f"{raw['process_start_to_first_observation_s'][name]:.1f}",
            f"{ratios[name]:.1f}x" if name in ratios else "",
        )
    result.add_section()
    result.add_row("exact reset", "", "", "", f"{figures['reset_ratio']:.1f}x")
    result.add_row("two workers over one", "", "", "", f"{figures['two_workers_ratio']:.2f}x")
    result.add_row("step over bare physics", "", "", "", f"{figures['step_over_physics']:.2f}x")
    return result


def open_stock(settings: dict[str, Any]) -> None:
    """In the variant's process: build stock LeRobot's environment."""
    global _env
    from pirl.envs.assets import configure_libero

    configure_libero()
    with contextlib.redirect_stdout(io.StringIO()):
        from lerobot.envs.libero import LiberoEnv, _get_suite

        _env = LiberoEnv(
            _get_suite(SUITE),
            TASK_ID,
            SUITE,
            camera_name=[f"{camera}_image" for camera in settings["cameras"]],
            obs_type="pixels_agent_pos",
            observation_height=settings["height"],
            observation_width=settings["width"],
        )
        _env.reset(seed=0)


def open_ours(settings: dict[str, Any]) -> None:
    """In the variant's process: build this project's simulation."""
    global _env
    _env = LiberoSimulation(SUITE, TASK_ID, **settings)
    _env.reset(START)
    _env.observe()


def expert_actions() -> np.ndarray:
    """The expert's episode from the start that all replay, [steps, 7]."""
    from pirl.envs.expert import ScriptedExpert

    _env.reset(START)
    expert = ScriptedExpert(_env)
    actions = []
    while not expert.done:
        actions.append(expert.act())
        if _env.step(actions[-1]):
            return np.array(actions)
    raise RuntimeError(f"the expert failed at {SUITE} task {TASK_ID}, {START}")


def run_stock(actions: np.ndarray) -> tuple[float, float]:
    """One episode of stock LeRobot; seconds of its reset and of its steps."""
    began = time.perf_counter()
    _env.init_state_id = START.index
    _env.reset(seed=START.seed)
    reset = time.perf_counter()
    for action in actions:
        _env.step(action)
    return reset - began, time.perf_counter() - reset


def run_ours(actions: np.ndarray) -> tuple[float, float]:
    """One episode of ours; seconds of its reset with its observation, and of its steps."""
    began = time.perf_counter()
    _env.reset(START)
    _env.observe()
    reset = time.perf_counter()
    for chunk in np.split(actions, range(CHUNK, len(actions), CHUNK)):
        for action in chunk:
            _env.step(action)
        _env.observe()
    return reset - began, time.perf_counter() - reset


def step_over_physics(actions: np.ndarray) -> tuple[float, float]:
    """Seconds per control step without images, and per 25 calls of `mj_step` over the same states."""
    model, data = _env.model, _env.data
    sensors = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
    step_s = bare_s = 0.0
    _env.reset(START)
    for action in actions:
        before = np.concatenate([data.qpos, data.qvel])
        began = time.perf_counter()
        _env.step(action)
        step_s += time.perf_counter() - began
        after = np.concatenate([data.qpos, data.qvel])
        data.qpos[:], data.qvel[:] = before[: model.nq], before[model.nq :]
        model.opt.disableflags &= ~sensors  # bare physics as robosuite configures it
        began = time.perf_counter()
        for _ in range(25):
            mujoco.mj_step(model, data)
        bare_s += time.perf_counter() - began
        model.opt.disableflags |= sensors
        data.qpos[:], data.qvel[:] = after[: model.nq], after[model.nq :]
    return step_s / len(actions), bare_s / len(actions)


def worker_rates(actions: np.ndarray, runs: int) -> tuple[list[float], list[float]]:
    """Control steps per second of one `fast` worker and of two together, by run."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with contextlib.ExitStack() as stack:
        workers = EnvWorkers(2, [(SUITE, TASK_ID)], chunk_size=CHUNK, fidelity="fast", **TWO_CAMERAS)
        stack.callback(workers.close)
        run_workers(workers, 2, actions, episodes=1)
        for _ in track(range(runs), "workers"):
            for count in rates:
                began = time.perf_counter()
                run_workers(workers, count, actions, WORKER_EPISODES)
                rates[count].append(count * WORKER_EPISODES * len(actions) / (time.perf_counter() - began))
    return rates[1], rates[2]


def run_workers(workers: EnvWorkers, count: int, actions: np.ndarray, episodes: int) -> None:
    """Replay `episodes` episodes in each of the first `count` workers."""
    chunks = np.split(actions, range(CHUNK, len(actions), CHUNK))
    plans = {worker: iter([None, *chunks] * episodes) for worker in range(count)}
    for worker in plans:
        send(workers, worker, next(plans[worker]))
    while plans:
        for result in workers.collect(timeout=600.0):
            try:
                send(workers, result.worker, next(plans[result.worker]))
            except StopIteration:
                del plans[result.worker]


def send(workers: EnvWorkers, worker: int, chunk: np.ndarray | None) -> None:
    """Give a worker its next chunk, or a new episode."""
    if chunk is None:
        workers.reset(worker, (SUITE, TASK_ID), START)
    else:
        workers.step(worker, chunk)


if __name__ == "__main__":
    main()
