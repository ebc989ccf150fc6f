"""How one actor's rollouts scale with its environments, in results/bench/rollouts.json.

    python -m pirl.benchmarks.rollouts [--policy FOLDER] [--environments 1 2 4 8 16] [--libero 1 2 3]

One forward pass serves all environments that wait. Three measurements, in control steps per second with the
decisions per forward pass (`batch`) and their share of all environments (`fill`):

- LIBERO at `fast` fidelity: the real collector, policy and environment workers, as many as `--libero` names.
- Simulated: the same with environments that only wait, `--latency` seconds a chunk on average.
- Simulated with an accelerator: the forward pass too only waits, whatever its batch, once as long as a chunk
  and once a tenth of it. `wait` holds it back for up to a quarter of a chunk's time, until all environments
  are ready: what waiting for fuller batches would bring.
"""

from __future__ import annotations

import heapq
import logging
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from pirl.algorithms import PiRLConfig
from pirl.algorithms.acting import ActionSampler, Decision, make_action_sampler
from pirl.algorithms.factory import make_algorithm
from pirl.benchmarks.options import chosen_policy, policy_parser
from pirl.envs.chunk_env import LiberoChunkEnv
from pirl.envs.starts import Start
from pirl.envs.workers import EnvWorkers, WorkerResult
from pirl.files import write_json_atomically
from pirl.policies.adapters import bare, load_policy
from pirl.policies.processing import PolicyProcessing
from pirl.runtime.rollout import EpisodeCollector, cycle_starts

TASK = ("libero_object", 0)
SIZE, DECISIONS_PER_EPISODE = 64, 4
# Share of a chunk's time that a forward pass is held back, and forward times as shares of a chunk's time.
WAIT, FORWARDS = 0.25, {"slow": 1.0, "fast": 0.1}


@dataclass
class CountedSampler:
    """A sampler that notes the size of every forward pass."""

    sampler: ActionSampler
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chunk_size = self.sampler.chunk_size
        self.needs_scene_state = self.sampler.needs_scene_state

    def act(
        self, observation: dict[str, Tensor], scenes: Tensor | None = None, chances: Tensor | None = None
    ) -> Decision:
        decision = self.sampler.act(observation, scenes, chances)
        self.batches.append(len(decision.action))
        return decision


class WaitingSampler:
    """An accelerator that takes `forward_s` for any batch and repeats one recorded decision."""

    needs_scene_state = False

    def __init__(self, decision: Decision, forward_s: float) -> None:
        self._decision, self._forward_s = decision, forward_s
        self.chunk_size = decision.action.shape[1]

    def act(
        self, observation: dict[str, Tensor], scenes: Tensor | None = None, chances: Tensor | None = None
    ) -> Decision:
        time.sleep(self._forward_s)
        rows = torch.zeros(len(next(iter(observation.values()))), dtype=torch.long)
        info = {key: value[rows] for key, value in self._decision.complementary_info.items()}
        return Decision(self._decision.action[rows], info)


class WaitingWorkers:
    """Environments that only wait: each chunk takes between half and one and a half times `latency`.

    Args:
        num_workers: environments.
        observation: what every one of them sees.
        latency: mean seconds of a chunk, and of a reset.
        patience: seconds that `collect` waits until every environment is ready, once one is.
    """

    def __init__(
        self, num_workers: int, observation: dict[str, Any], latency: float, patience: float = 0.0
    ) -> None:
        self.num_workers = num_workers
        self._observation, self._latency, self._patience = observation, latency, patience
        self._random = random.Random(0)
        self._due: list[tuple[float, int]] = []
        self._decisions = [0] * num_workers
        self._steps = 0

    def reset(self, worker: int, task: tuple[str, int], start: Start) -> None:
        self._decisions[worker] = -1
        self._begin(worker)

    def step(self, worker: int, actions: np.ndarray) -> None:
        self._steps = len(actions)
        self._begin(worker)

    def _begin(self, worker: int) -> None:
        taken = self._latency * self._random.uniform(0.5, 1.5)
        heapq.heappush(self._due, (time.perf_counter() + taken, worker))

    def collect(self, timeout: float) -> list[WorkerResult]:
        latest = max(due for due, _ in self._due)
        _sleep_until(self._due[0][0])
        if self._patience:
            _sleep_until(min(latest, time.perf_counter() + self._patience))
        ready, now = [], time.perf_counter()
        while self._due and self._due[0][0] <= now:
            ready.append(self._answer(heapq.heappop(self._due)[1]))
        return ready

    def _answer(self, worker: int) -> WorkerResult:
        self._decisions[worker] += 1
        count = self._decisions[worker]
        if not count:
            return WorkerResult(worker, "reset", self._observation)
        info = {"executed_steps": self._steps, "env_steps": count * self._steps, "is_success": False}
        ends = count == DECISIONS_PER_EPISODE
        return WorkerResult(worker, "step", self._observation, 0.0, False, ends, info)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.perf_counter()))


class Bench:
    """A policy and what it takes to roll it out."""

    def __init__(self, folder: Path) -> None:
        config = PreTrainedConfig.from_pretrained(folder)
        config.pretrained_path = folder
        config.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = config.device
        policy = bare(load_policy(config, folder)).to(config.device)
        environment = LiberoEnv(task=TASK[0], observation_height=SIZE, observation_width=SIZE)
        self._processing = PolicyProcessing(config, environment, pretrained_path=folder)
        self._sampler = make_action_sampler(make_algorithm(PiRLConfig(policy_config=config), policy))
        self.parameters = sum(parameter.numel() for parameter in policy.parameters())
        sample = LiberoChunkEnv([TASK], chunk_size=1, height=SIZE, width=SIZE).observation_space
        sample.seed(0)
        self._observation = sample.sample()
        self._decision = self._sampler.act(self._processing.encode([self._observation], ["wait"]))

    @property
    def device(self) -> str:
        """Where the policy runs."""
        return torch.cuda.get_device_name() if self._device == "cuda" else "cpu"

    def libero(self, environments: int, seconds: float) -> dict[str, float]:
        """Real environments."""
        chunk_size = self._sampler.chunk_size
        workers = EnvWorkers(
            environments, [TASK], chunk_size=chunk_size, height=SIZE, width=SIZE, fidelity="fast"
        )
        try:
            return self._measure(workers, seconds)
        finally:
            workers.close()

    def simulated(
        self,
        environments: int,
        seconds: float,
        latency: float,
        forward_s: float | None = None,
        patience: float = 0.0,
    ) -> dict[str, float]:
        """Environments that only wait; with `forward_s` so does the policy."""
        workers = WaitingWorkers(environments, self._observation, latency, patience)
        sampler = None if forward_s is None else WaitingSampler(self._decision, forward_s)
        return self._measure(workers, seconds, sampler)

    def _measure(
        self, workers: Any, seconds: float, sampler: ActionSampler | None = None
    ) -> dict[str, float]:
        """Rates once as many episodes as there are environments are complete."""
        counted = CountedSampler(sampler or self._sampler)
        collector = EpisodeCollector(
            counted, self._processing, workers, cycle_starts([TASK], "sampled", 10_000_000, 0, 1)
        )
        episodes = collector.collect(10**6, 0)
        for _ in range(workers.num_workers):
            next(episodes)
        counted.batches.clear()
        began, inference = time.perf_counter(), collector.inference_s
        for _ in episodes:
            elapsed = time.perf_counter() - began
            if elapsed > seconds:
                break
        decisions = sum(counted.batches)
        return {
            "environments": workers.num_workers,
            "env_steps_per_s": decisions * self._sampler.chunk_size / elapsed,
            "batch": statistics.mean(counted.batches),
            "fill": statistics.mean(counted.batches) / workers.num_workers,
            "forward_share": (collector.inference_s - inference) / elapsed,
            "ms_per_decision": 1e3 * (collector.inference_s - inference) / decisions,
        }


def main(args: list[str] | None = None) -> None:
    """Measure, print tables, write the figures."""
    parser = policy_parser(__doc__)
    parser.add_argument("--environments", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument(
        "--libero", type=int, nargs="*", default=[1, 2, 3], help="numbers of real environments"
    )
    parser.add_argument("--latency", type=float, default=0.5, help="mean seconds of a simulated chunk")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--out", type=Path, default=Path("results/bench/rollouts.json"))
    options = parser.parse_args(args)
    policy = chosen_policy(parser, options)
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)  # as an actor does
    bench, seconds, latency = Bench(policy), options.seconds, options.latency
    figures: dict[str, Any] = {
        "device": bench.device,
        "parameters": bench.parameters,
        "simulated_latency_s": latency,
        "libero": [bench.libero(count, seconds) for count in track(options.libero, "LIBERO")],
        "simulated": [
            bench.simulated(count, seconds, latency) for count in track(options.environments, "simulated")
        ],
    }
    for name, share in FORWARDS.items():
        for patience in (0.0, WAIT):
            label = f"{name}_forward{'_wait' if patience else ''}"
            figures[label] = [
                bench.simulated(count, seconds, latency, share * latency, patience * latency)
                for count in track(options.environments, label)
            ]
    write_json_atomically(options.out, figures)
    for table in tables(figures):
        Console().print(table)
    Console().print(f"written to {options.out}")


def tables(figures: dict[str, Any]) -> list[Table]:
    """One table per measurement."""
    latency = figures["simulated_latency_s"]
    titles = {"libero": "LIBERO", "simulated": f"Simulated, {latency:g} s a chunk"}
    for name, share in FORWARDS.items():
        title = f"Simulated, {latency:g} s a chunk, {share * latency:g} s a forward pass"
        titles |= {f"{name}_forward": title, f"{name}_forward_wait": f"{title}, waiting for full batches"}
    found = []
    for name, title in titles.items():
        table = Table("environments", "control steps / s", "batch", "fill", "time in forward", title=title)
        for row in figures[name]:
            table.add_row(
                str(row["environments"]),
                f"{row['env_steps_per_s']:.0f}",
                f"{row['batch']:.1f}",
                f"{row['fill']:.2f}",
                f"{row['forward_share']:.2f}",
            )
        found.append(table)
    return found


if __name__ == "__main__":
    main()
