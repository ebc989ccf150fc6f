"""How rollouts scale with the number of actors, in results/bench/actors.json.

    python -m pirl.benchmarks.actors [--config configs/smoke.yaml] [--policy FOLDER] [--runs 3]

Two measurements. Real: one actor and two actors in LIBERO, one environment worker each, with a learner that
never updates; they take turns and medians are compared. Simulated: actors whose environment only waits send
episodes of real size through the real transport into the real intake, so that the learner's side alone
decides how far one learner reaches; efficiency is the rate over N times the rate of one.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.utils.transition import Transition
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pirl.benchmarks.options import chosen_policy, policy_parser
from pirl.experiment.config import load_experiment
from pirl.experiment.recipes import run_settings
from pirl.files import read_json_lines, write_json_atomically
from pirl.runtime.client import LearnerClient
from pirl.runtime.configuration import TransportConfig
from pirl.runtime.history import CURVE_FILE
from pirl.runtime.ingest import Intake
from pirl.runtime.schema import NUMBERS, TransitionSchema
from pirl.runtime.service import BroadcastLearnerService, ParameterBoard, start_server
from pirl.runtime.supervisor import Supervisor

# One episode of the simulated environment: a successful one of libero_object at 64x64 with two cameras.
DECISIONS, CHUNK, IMAGE = 13, 8, (1, 3, 64, 64)
ACTORS = (1, 2, 4, 8, 16, 32, 64)
THREADS_PER_PROCESS = 8


def main() -> None:
    """Measure, print two tables, write the figures."""
    parser = policy_parser(__doc__)
    parser.add_argument("--env-steps", type=int, default=6000, help="of each real run")
    parser.add_argument("--runs", type=int, default=3, help="of one and of two real actors, in turn")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds of a simulated episode")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each simulated measurement")
    parser.add_argument("--out", type=Path, default=Path("results/bench/actors.json"))
    arguments = parser.parse_args()
    policy = chosen_policy(parser, arguments)
    logging.disable(logging.WARNING)
    simulated = [
        simulate(count, arguments.latency, arguments.seconds) for count in track(ACTORS, "simulated")
    ]
    for row in simulated:
        row["efficiency"] = row["episodes_per_s"] / (row["actors"] * simulated[0]["episodes_per_s"])
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in track(range(arguments.runs), "LIBERO"):
        for count, measured in rates.items():
            measured.append(roll_out(arguments.config, policy, count, arguments.env_steps))
    figures = {
        "libero": {str(count): statistics.median(measured) for count, measured in rates.items()},
        "libero_two_to_one": statistics.median(b / a for a, b in zip(rates[1], rates[2], strict=True)),
        "libero_runs": {str(count): measured for count, measured in rates.items()},
        "simulated_latency_s": arguments.latency,
        "simulated": simulated,
    }
    write_json_atomically(arguments.out, figures)
    for table in tables(figures):
        Console().print(table)
    Console().print(f"written to {arguments.out}")


def roll_out(config: Path, policy: Path, actors: int, env_steps: int) -> float:
    """Control steps per second of real actors with one environment worker each, start-up left out."""
    experiment = load_experiment(config)
    experiment["simulation"]["workers"] = 1
    experiment["train"] |= {"env_steps": env_steps, "actors": actors, "synchronous": False, "checkpoints": 1}
    experiment["train"]["pi_rl"] = {**experiment["train"]["pi_rl"], "episodes_per_update": 10**6}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = run_settings(
            experiment, "pi_rl_flow_sde", warm_start=policy, demonstrations=folder, output_dir=folder / "run"
        )
        settings.pop("tracking_run")
        (folder / "run.json").write_text(json.dumps(settings))
        Supervisor(folder / "run.json", progress=False).run()
        curve = read_json_lines(folder / "run" / CURVE_FILE)
    # Actors start one after the other: the first third is theirs to begin in.
    curve = curve[len(curve) // 3 :]
    first, last = curve[0], curve[-1]
    return (last["env_steps"] - first["env_steps"]) / (last["wall_s"] - first["wall_s"])


def simulate(actors: int, latency: float, seconds: float) -> dict[str, float]:
    """Episodes per second that a learner takes from simulated actors, and the cores it needs for that."""
    shutdown, transitions, interactions = threading.Event(), Queue(64), Queue()  # type: ignore[var-annotated]
    intake = Intake(transitions, interactions, _buffer(), _schema())
    service = BroadcastLearnerService(ParameterBoard(), shutdown, transitions, interactions, poll_s=0.2)
    server, port = start_server(service, "127.0.0.1", 0, actors)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    ids = [list(range(actors))[first :: -(-actors // THREADS_PER_PROCESS)] for first in range(actors)]
    groups = [group for group in ids[: -(-actors // THREADS_PER_PROCESS)] if group]
    processes = [context.Process(target=_simulated_actors, args=(port, g, latency, stop)) for g in groups]
    for process in processes:
        process.start()
    try:
        while len({actor for actor, seen in intake._seen.items() if len(seen) >= 2}) < actors:
            intake.take(0.2)
        began, before, cpu = time.perf_counter(), intake.counters.episodes, time.process_time()
        while time.perf_counter() - began < seconds:
            intake.take(0.2)
        elapsed = time.perf_counter() - began
        rate = (intake.counters.episodes - before) / elapsed
        busy = (time.process_time() - cpu) / elapsed
    finally:
        stop.set()
        while any(process.is_alive() for process in processes):  # they leave when all is taken
            intake.take(0.2)
        shutdown.set()
        server.stop(grace=1.0).wait()
    return {
        "actors": actors,
        "episodes_per_s": rate,
        "env_steps_per_s": rate * DECISIONS * CHUNK,
        "learner_cores": busy,
        "repeated": intake.counters.repeated_episodes,
        "missing": intake.missing_episodes,
    }


def _simulated_actors(port: int, ids: list[int], latency: float, stop: Any) -> None:
    """Process of several actors, each in a thread; begins spread over one latency."""
    os.nice(10)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)

    def act(position: int, actor: int) -> None:
        client = LearnerClient(TransportConfig(port=port))
        client.connect()
        due = time.monotonic() + latency * position / len(ids)
        episode = 0
        while not stop.wait(max(0.0, due - time.monotonic())):
            client.send_episode(_episode(actor, episode), {"actor_id": actor, **_REPORT})
            episode, due = episode + 1, max(due + latency, time.monotonic())
        client.close()

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_REPORT = {"task_id": 0, "success": True, "inference_s": 0.0, "waiting_s": 0.0, "lost_episodes": 0}


def _state() -> dict[str, torch.Tensor]:
    images = {name: torch.rand(IMAGE) for name in ("observation.images.image", "observation.images.image2")}
    return images | {"observation.state": torch.zeros(1, 20)}


def _episode(actor: int, episode: int) -> list[Transition]:
    """An episode of real size; every tensor is a copy, as in a rollout."""
    state = _state()
    transitions = []
    for index in range(DECISIONS):
        numbers = dict(zip(NUMBERS, (0, episode, index, actor, CHUNK), strict=True))
        info = {name: torch.tensor([float(value)]) for name, value in numbers.items()}
        transitions.append(
            Transition(
                state={key: value.clone() for key, value in state.items()},
                action=torch.zeros(1, 160),
                reward=0.0,
                next_state={key: value.clone() for key, value in state.items()},
                done=index == DECISIONS - 1,
                truncated=False,
                complementary_info=info | {"chain": torch.zeros(1, 5, 8, 20)},
            )
        )
    return transitions


def _buffer() -> ReplayBuffer:
    return ReplayBuffer(capacity=2000, device="cpu", state_keys=list(_state()), use_drq=False)


def _schema() -> TransitionSchema:
    return TransitionSchema(
        state={key: tuple(value.shape) for key, value in _state().items()},
        action=(1, 160),
        complementary_info={**dict.fromkeys(NUMBERS, (1,)), "chain": (1, 5, 8, 20)},
        chunk_size=CHUNK,
        max_decisions=DECISIONS,
    )


def tables(figures: dict[str, Any]) -> list[Table]:
    """One table per measurement."""
    real = Table("actors", "control steps / s", title="LIBERO, one environment worker each")
    for count, rate in figures["libero"].items():
        real.add_row(count, f"{rate:.0f}")
    real.add_row("two / one", f"{figures['libero_two_to_one']:.2f}")
    title = f"Simulated environment, {figures['simulated_latency_s']:g} s an episode"
    simulated = Table(
        "actors", "episodes / s", "control steps / s", "efficiency", "learner's cores", title=title
    )
    for row in figures["simulated"]:
        simulated.add_row(
            str(row["actors"]),
            f"{row['episodes_per_s']:.1f}",
            f"{row['env_steps_per_s']:.0f}",
            f"{row['efficiency']:.2f}",
            f"{row['learner_cores']:.2f}",
        )
    return [real, simulated]


if __name__ == "__main__":
    main()
