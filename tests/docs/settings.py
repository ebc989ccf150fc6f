"""Every dotted key that a run, an experiment or a LeRobot command takes."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, get_args, get_type_hints

import yaml
from draccus import ChoiceRegistry
from lerobot.configs.eval import EvalPipelineConfig
from lerobot.configs.train import TrainPipelineConfig

from pirl.experiment.config import SCHEMA_PATH
from pirl.runtime.configuration import OnlineTrainConfig


@cache
def run_keys() -> frozenset[str]:
    """Of `run.json`, and of the flags of pirl-train, pirl-learner and pirl-actor."""
    return frozenset(_keys(OnlineTrainConfig))


@cache
def lerobot_keys() -> frozenset[str]:
    """Of the flags of lerobot-eval and lerobot-train."""
    return frozenset(_keys(EvalPipelineConfig) | _keys(TrainPipelineConfig))


@cache
def experiment_keys() -> frozenset[str]:
    """Of `configs/*.yaml`; open sections hold the keys of what they are passed to."""
    keys = _schema_keys(yaml.safe_load(SCHEMA_PATH.read_text(encoding="utf-8")))
    for section, passed_to in OPEN_SECTIONS.items():
        keys |= {f"{section}.{key.removeprefix(passed_to)}" for key in _all() if key.startswith(passed_to)}
    return frozenset(keys)


OPEN_SECTIONS = {
    "policy.settings": "policy.",
    "train.policy": "policy.",
    "train.pi_rl": "algorithm.",
    "train.flow_sde": "algorithm.",
    "train.flow_noise": "algorithm.",
    "train.sac.algorithm": "algorithm.",
    "train.sac.policy": "policy.",
    "warm_start.settings": "",
}


def _all() -> frozenset[str]:
    return run_keys() | lerobot_keys()


def _schema_keys(rule: dict[str, Any], prefix: str = "") -> set[str]:
    keys = set()
    for name, inner in rule.get("properties", {}).items():
        keys |= {prefix + name} | _schema_keys(inner, f"{prefix}{name}.")
    return keys


def _keys(kind: Any, prefix: str = "") -> set[str]:
    """Dotted names of a configuration's fields; of each choice where it may be one of several classes."""
    if get_args(kind):
        return set().union(*(_keys(part, prefix) for part in get_args(kind)))
    if not dataclasses.is_dataclass(kind) or prefix.count(".") > 3:
        return set()
    keys = {f"{prefix}type", f"{prefix}path"}
    if isinstance(kind, type) and issubclass(kind, ChoiceRegistry):
        for choice in {*kind._choice_registry.values()} - {kind}:
            keys |= _fields(choice, prefix)
    return keys | _fields(kind, prefix)


def _fields(kind: Any, prefix: str) -> set[str]:
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return {prefix + name for name in names}.union(
        *(_keys(hints[name], f"{prefix}{name}.") for name in names)
    )
