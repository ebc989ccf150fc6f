"""Cost of one PI-RL update against its floor, in results/bench/update.json.

    python -m pirl.benchmarks.update [--models tiny_xvla xvla_300m] [--output FILE]

The floor is a bare forward and backward pass of the same minibatches through the same denoiser, the
observations encoded once: no log-probs, critic, clipping. Time: update and floor alternate in one process and
medians are compared; the floor takes no optimizer step. Memory: peak of a process that does only the one or
the other; there the floor does hold the optimizer's state, which all training needs, and
`bare_memory_ratio` is against a floor without it.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.xvla.configuration_xvla import XVLAConfig
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.rl.buffer import ReplayBuffer
from lerobot.rl.data_sources import OnlineOfflineMixer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pirl.algorithms import PiRLConfig
from pirl.algorithms.pi_rl.algorithm import PiRLAlgorithm
from pirl.experiment.config import load_experiment
from pirl.files import write_json_atomically
from pirl.policies.flow_policy import integer_ids

EXPERIMENT = Path("configs/default.yaml")
# Decisions per update, decisions per minibatch, repetitions.
SIZES = {"tiny_xvla": (64, 32, 3), "xvla_300m": (8, 8, 1)}
LARGE = {
    "hidden_size": 1024,
    "depth": 16,
    "num_heads": 16,
    "num_domains": 8,
    "len_soft_prompts": 8,
    "max_len_seq": 256,
    "chunk_size": 16,
    "n_action_steps": 8,
    "max_state_dim": 20,
    "tokenizer_max_length": 16,
    "num_denoising_steps": 4,
    "action_mode": "auto",
}
LARGE_VLM = {
    "vision_config": {
        "embed_dim": [128, 256, 512, 1024],
        "depths": [1, 1, 9, 1],
        "num_heads": [4, 8, 16, 32],
        "num_groups": [4, 8, 16, 32],
        "patch_size": [7, 3, 3, 3],
        "patch_stride": [4, 2, 2, 2],
        "patch_padding": [3, 1, 1, 1],
        "patch_prenorm": [False, True, True, True],
        "window_size": 4,
        "projection_dim": 768,
    },
    "text_config": {
        "vocab_size": 1024,
        "d_model": 768,
        "encoder_layers": 6,
        "encoder_ffn_dim": 3072,
        "encoder_attention_heads": 12,
        "decoder_layers": 1,
        "decoder_ffn_dim": 64,
        "decoder_attention_heads": 12,
        "max_position_embeddings": 256,
    },
}


def make_policy(model: str) -> XVLAPolicy:
    """The default experiment's XVLA, or one of about 300 M parameters; random weights."""
    if model == "tiny_xvla":
        settings = dict(load_experiment(EXPERIMENT)["policy"]["settings"])
        for name in ("type", "tokenizer_name"):
            settings.pop(name, None)
        inputs = settings.pop("input_features")
        shapes = {name: tuple(feature["shape"]) for name, feature in inputs.items()}
    else:
        settings = {**LARGE, "florence_config": LARGE_VLM}
        shapes = {
            "observation.images.image": (3, 64, 64),
            "observation.images.image2": (3, 64, 64),
            "observation.state": (20,),
        }
    settings["input_features"] = {
        name: PolicyFeature(FeatureType.STATE if len(shape) == 1 else FeatureType.VISUAL, shape)
        for name, shape in shapes.items()
    }
    settings["output_features"] = {"action": PolicyFeature(FeatureType.ACTION, (20,))}
    settings["push_to_hub"] = False
    settings["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    settings.pop("normalization_mapping", None)
    return XVLAPolicy(XVLAConfig(**settings))


class Workload:
    """One policy, its algorithm and one update's rollouts on random observations."""

    def __init__(self, model: str) -> None:
        torch.manual_seed(0)
        self.decisions, minibatch, self.repetitions = SIZES[model]
        policy = make_policy(model)
        config = PiRLConfig(
            episodes_per_update=1, minibatch_size=minibatch, executed_dims=10, critic_warmup_epochs=0,
            target_kl=None, max_policy_lag=None, policy_config=policy.config,
        )  # fmt: skip
        self.algorithm = PiRLAlgorithm(policy, config)
        self.algorithm.make_optimizers_and_scheduler()
        self._transitions = self._record()

    @property
    def parameters(self) -> int:
        """Parameters of the policy."""
        return sum(parameter.numel() for parameter in self.algorithm.policy.parameters())

    def update(self) -> None:
        """One PPO update as the learner runs it."""
        buffer = ReplayBuffer(self.decisions + 1, device="cpu", use_drq=False)
        for transition in self._transitions:
            buffer.add(**transition)
        self.algorithm.update(self.algorithm.configure_data_iterator(OnlineOfflineMixer(buffer), 0))

    def floor(self, optimizer: bool = False) -> None:
        """Forward and backward of the same minibatches, observations encoded once.

        Args:
            optimizer: also take the optimizer's steps.
        """
        algorithm, config = self.algorithm, self.algorithm.config
        device, flow = algorithm.stochastic.device, algorithm.flow
        names = self._transitions[0]["state"]
        states = {name: torch.cat([t["state"][name] for t in self._transitions]) for name in names}
        infos = [t["complementary_info"] for t in self._transitions]
        chain = torch.cat([info["chain"] for info in infos]).to(device)
        k = integer_ids(torch.cat([info["stochastic_step"] for info in infos])).to(device)
        rows = torch.arange(self.decisions, device=device)
        with torch.no_grad():
            pieces = [
                algorithm.stochastic.encode({key: value[piece.cpu()] for key, value in states.items()})
                for piece in rows.split(config.minibatch_size)
            ]
        context = {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}
        count = math.ceil(self.decisions / config.minibatch_size)
        last = torch.full_like(k, algorithm.stochastic.steps - 1)
        for _ in range(config.epochs):
            for picked in torch.randperm(self.decisions, device=device).tensor_split(count):
                chosen = {key: value[picked] for key, value in context.items()}
                # The discrete gripper needs the last denoiser call besides the stochastic one.
                steps = [k[picked]] + ([last[picked]] if flow.binary_dims else [])
                for step in steps:
                    output = flow.denoise(chosen, chain[picked, step], algorithm.stochastic.times[step])
                    output.prediction.square().mean().backward()
                if optimizer:
                    algorithm.optimizers["actor"].step()
                algorithm.policy.zero_grad(set_to_none=True)

    def _record(self) -> list[dict[str, Any]]:
        config = self.algorithm.policy.config
        transitions = []
        for index in range(self.decisions):
            last = index == self.decisions - 1
            observation: dict[str, Tensor] = {
                name: torch.rand(1, *feature.shape) for name, feature in config.input_features.items()
            }
            tokens = torch.randint(3, 200, (1, config.tokenizer_max_length))
            observation["observation.language.tokens"] = tokens
            decision = self.algorithm.act(observation)
            numbers = {"policy_version": 0, "executed_steps": self.algorithm.chunk_size}
            info = {key: torch.tensor([float(value)]) for key, value in numbers.items()}
            transitions.append({
                "state": observation, "action": decision.action.reshape(1, -1).cpu(), "reward": float(last),
                "next_state": observation, "done": last, "truncated": False,
                "complementary_info": decision.complementary_info | info,
            })  # fmt: skip
        return transitions


def measure_time(model: str) -> dict[str, float]:
    """Seconds of update and floor, medians of alternating repetitions after one warm-up of each."""
    workload = Workload(model)
    seconds: dict[str, list[float]] = {"update": [], "floor": []}
    for repetition in range(workload.repetitions + 1):
        for name in seconds:
            began = time.perf_counter()
            getattr(workload, name)()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repetition:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()} | {
        "parameters": workload.parameters
    }


def measure_memory(model: str, what: str) -> dict[str, float]:
    """Peak bytes of a process (or of the GPU) that runs only `update`, `floor` or `bare` (no optimizer)."""
    workload = Workload(model)
    if what == "update":
        workload.update()
    else:
        workload.floor(optimizer=what == "floor")
    if torch.cuda.is_available():
        return {"peak_bytes": float(torch.cuda.max_memory_allocated())}
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}


def compare(model: str) -> dict[str, float]:
    """Ratios of one model, each measurement in a process of its own."""
    seconds = _in_own_process(["time", model])
    kinds = ("update", "floor", "bare")
    peaks = {what: _in_own_process(["memory", model, what])["peak_bytes"] for what in kinds}
    return {
        "time_ratio": seconds["update"] / seconds["floor"],
        "memory_ratio": peaks["update"] / peaks["floor"],
        "bare_memory_ratio": peaks["update"] / peaks["bare"],
        "update_s": seconds["update"],
        "floor_s": seconds["floor"],
        "update_peak_bytes": peaks["update"],
        "floor_peak_bytes": peaks["floor"],
        "parameters": seconds["parameters"],
    }


def _in_own_process(words: list[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "pirl.benchmarks.update", "--measure", *words]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main(args: list[str] | None = None) -> None:
    """Console entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=sorted(SIZES), default=list(SIZES))
    parser.add_argument("--output", type=Path, default=Path("results/bench/update.json"))
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.measure:
        kind, *rest = options.measure
        print(json.dumps(measure_time(*rest) if kind == "time" else measure_memory(*rest)))
        return
    models = {model: compare(model) for model in options.models}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomically(options.output, {"models": models})
    table = Table("model", "parameters", "time / floor", "peak memory / floor", title="One PI-RL update")
    for model, ratios in models.items():
        table.add_row(
            model, f"{ratios['parameters'] / 1e6:.1f} M", f"{ratios['time_ratio']:.2f}",
            f"{ratios['memory_ratio']:.2f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
