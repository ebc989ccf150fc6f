"""Writes a policy as a flat, standard LeRobot folder that stock `lerobot-eval` loads unchanged."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lerobot.configs.policies import PreTrainedConfig
from lerobot.utils.constants import POLICY_PREPROCESSOR_DEFAULT_NAME

from pirl.policies.adapters import load_policy, merged
from pirl.policies.pickled import refuse_pickles
from pirl.policies.processing import XVLA_LIBERO_STEPS

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_model.safetensors"
DEVICE_STEP = "device_processor"
TOKENIZER_STEP = "tokenizer_processor"
TOKENIZER_FOLDER = "tokenizer"


class ExportError(ValueError):
    """The source folder is not a complete LeRobot policy."""


def export_policy(source: Path, destination: Path, overrides: Sequence[str] = ()) -> Path:
    """Copy a `pretrained_model` folder so that stock evaluation in LIBERO accepts it.

    XVLA's preprocessor loses the steps that LeRobot's LIBERO processor repeats, a tokenizer that lies in a
    local folder is bundled, and an adapter is merged into its base policy's weights. The destination appears
    complete or not at all.

    Args:
        source: a `pretrained_model` folder written by lerobot-train or pirl.
        destination: the new folder; replaced if it exists.
        overrides: of its configuration, as `--n_action_steps=5`.

    Raises:
        ExportError: when the source lacks a file.
        PickledWeights: when its weights are a pickle.
    """
    source, destination = Path(source), Path(destination)
    refuse_pickles(source)
    preprocessor = f"{POLICY_PREPROCESSOR_DEFAULT_NAME}.json"
    adapted = (source / ADAPTER_FILE).is_file()
    for name in (CONFIG_FILE, ADAPTER_FILE if adapted else "model.safetensors", preprocessor):
        if not (source / name).is_file():
            raise ExportError(f"{source}: not a LeRobot policy folder: {name} is missing")
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
    try:
        unwanted = shutil.ignore_patterns("train_config.json", "adapter_*", "README.md" if adapted else "")
        shutil.copytree(source, partial, dirs_exist_ok=True, ignore=unwanted)
        if adapted:
            merged(load_policy(PreTrainedConfig.from_pretrained(source), source)).save_pretrained(partial)
        policy_type = json.loads((source / CONFIG_FILE).read_text())["type"]
        if overrides:
            PreTrainedConfig.from_pretrained(partial, cli_overrides=list(overrides)).save_pretrained(partial)
        pipeline = json.loads((partial / preprocessor).read_text())
        if policy_type == "xvla":
            pipeline["steps"] = _without(pipeline["steps"], XVLA_LIBERO_STEPS)
        _bundle_tokenizer(pipeline["steps"], partial, destination)
        (partial / preprocessor).write_text(json.dumps(pipeline, indent=2))
        partial.chmod(0o755)
        shutil.rmtree(destination, ignore_errors=True)
        os.replace(partial, destination)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return destination


def folder_for_training(source: Path, copy: Path) -> Path:
    """A policy folder from which lerobot-train gives the policy the inputs it knows.

    XVLA's preprocessor regains the steps that an export or one of pirl's checkpoints lacks: lerobot-train
    runs no environment's processor, and without a word would feed it pictures that are not normalised.

    Args:
        source: a policy folder.
        copy: where a complete copy goes if the source lacks steps; replaced if it exists.

    Returns:
        The source if it lacks nothing, else the copy.
    """
    name = f"{POLICY_PREPROCESSOR_DEFAULT_NAME}.json"
    is_xvla = json.loads((source / CONFIG_FILE).read_text())["type"] == "xvla"
    if not is_xvla or not (source / name).is_file():
        return source
    pipeline = json.loads((source / name).read_text())
    steps = _without(pipeline["steps"], XVLA_LIBERO_STEPS)
    if len(steps) < len(pipeline["steps"]):
        return source
    before = [step.get("registry_name") for step in steps].index(DEVICE_STEP)
    own = [{"registry_name": step, "config": {}} for step in XVLA_LIBERO_STEPS]
    pipeline["steps"] = [*steps[:before], *own, *steps[before:]]
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    (copy / name).write_text(json.dumps(pipeline, indent=2))
    return copy


def _without(steps: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [step for step in steps if step.get("registry_name") not in names]


def _bundle_tokenizer(steps: list[dict[str, Any]], partial: Path, destination: Path) -> None:
    """Copy a local tokenizer into the folder and point the pipeline at the copy.

    The path is relative to the working folder when the destination lies below it, so that the exported
    folder can be versioned and used from another clone's root.
    """
    for step in steps:
        if step.get("registry_name") != TOKENIZER_STEP:
            continue
        tokenizer = Path(step["config"]["tokenizer_name"])
        if not tokenizer.is_dir():
            continue
        copy = partial / TOKENIZER_FOLDER
        copy.mkdir(exist_ok=True)
        for file in tokenizer.glob("*.json"):
            if file.resolve() != (copy / file.name).resolve():
                shutil.copyfile(file, copy / file.name)
        final = destination.resolve() / TOKENIZER_FOLDER
        here = Path.cwd().resolve()
        step["config"]["tokenizer_name"] = str(
            final.relative_to(here) if final.is_relative_to(here) else final
        )
