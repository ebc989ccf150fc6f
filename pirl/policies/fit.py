"""Does a policy fit the simulator it is put into? A mismatch costs success without a word, so it is refused.

The messages name the keys of an experiment; in a run file `simulation.cameras` is `env.camera_name`,
`simulation.chunk_size` is `rollout.chunk_size`, and the rest of `simulation` lies in `env`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from lerobot.configs import NormalizationMode
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv
from lerobot.processor import (
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from pirl.envs.simulation import IMAGE_NAMES
from pirl.policies.processing import PolicyProcessing

# Proprioception that LeRobot's LIBERO processors make: for XVLA, and for everyone else.
STATE_DIMS = {"xvla": 20}
LIBERO_STATE_DIM = 8
STATISTICS = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}


class PolicyMismatch(ValueError):
    """A policy and its simulator disagree; the message names the key on both sides and the remedy."""


def check_fit(
    config: PreTrainedConfig, processing: PolicyProcessing, environment: LiberoEnv, chunk_size: int
) -> None:
    """Compare a policy and its saved pipelines with what the simulator gives and takes.

    Args:
        config: the policy's configuration.
        processing: its pipelines, as loaded.
        environment: cameras, picture size and control mode.
        chunk_size: H, control steps the simulator executes per decision.

    Raises:
        PolicyMismatch: listing every disagreement.
    """
    faults = (
        *_chunk(config, chunk_size),
        *_cameras(config, processing, environment),
        *_normalisation(config, processing),
        *_control(config, processing, environment.control_mode),
    )
    if faults:
        raise PolicyMismatch("; ".join(faults))


def _chunk(config: PreTrainedConfig, chunk_size: int) -> Iterator[str]:
    steps = getattr(config, "n_action_steps", chunk_size)
    if steps != chunk_size:
        yield (
            f"policy.settings.n_action_steps: the policy executes {steps} steps of a chunk, but "
            f"simulation.chunk_size is {chunk_size}; set one to the other"
        )


def _cameras(config: PreTrainedConfig, processing: PolicyProcessing, environment: LiberoEnv) -> Iterator[str]:
    renamed: dict[str, str] = {}
    for step in processing.preprocessor.steps:
        if isinstance(step, RenameObservationsProcessorStep):
            renamed |= step.rename_map
    cameras = {}
    for name in (name.removesuffix("_image") for name in environment.camera_name.split(",")):
        key = f"{OBS_IMAGES}.{IMAGE_NAMES[name]}"
        cameras[renamed.get(key, key)] = name
    features = {
        key: config.input_features[key]
        for key in config.image_features  # a list in SAC's policy, a dict in others
        if not key.startswith(f"{OBS_IMAGES}.empty_camera")
    }
    for key in sorted(features.keys() - cameras.keys()):
        yield (
            f"simulation.cameras: the policy reads {key}, the cameras give {', '.join(sorted(cameras))}; "
            "name its camera, or clone with rename_map in warm_start.settings"
        )
    for key in sorted(cameras.keys() - features.keys()):
        yield (
            f"simulation.cameras: {cameras[key]} gives {key}, which the policy does not read "
            f"({', '.join(sorted(features))}); take it out"
        )
    size = (environment.observation_height, environment.observation_width)
    resizes = getattr(config, "resize_imgs_with_padding", None) or getattr(config, "image_resolution", None)
    for key in sorted(features.keys() & cameras.keys()) if not resizes else ():
        if features[key].shape[-2:] != size:
            yield (
                f"simulation.height, simulation.width: {size}, but the policy takes {key} in "
                f"{features[key].shape[-2:]} and does not resize it"
            )


def _normalisation(config: PreTrainedConfig, processing: PolicyProcessing) -> Iterator[str]:
    """Without its statistics LeRobot's normaliser passes a feature through as it is."""
    state_dim = STATE_DIMS.get(config.type, LIBERO_STATE_DIM)
    again = "clone on this experiment's demonstrations (warm_start.steps above 0)"
    for pipeline, key, kind, dim in (
        (processing.preprocessor, OBS_STATE, "STATE", state_dim),
        (processing.postprocessor, ACTION, "ACTION", None),
    ):
        wanted = config.normalization_mapping.get(kind, NormalizationMode.IDENTITY)
        for step in _normalisers(pipeline):
            saved = {type_.value: mode for type_, mode in step.norm_map.items()}.get(kind, wanted)
            if saved != wanted:
                yield (
                    f"policy.settings.normalization_mapping: {kind} is {wanted.value}, but the policy was "
                    f"saved with {saved.value}; leave it as it was, or {again}"
                )
            statistics = {name: np.ravel(value) for name, value in (step.stats or {}).get(key, {}).items()}
            names = STATISTICS.get(saved, ())
            if missing := [name for name in names if name not in statistics]:
                yield f"policy.path: {saved.value} of {key} needs {', '.join(missing)}, not saved; {again}"
            elif names and dim is not None and (found := statistics[names[0]].size) != dim:
                yield f"policy.path: statistics of {found} dims of {key}, LIBERO gives {dim}; {again}"


def _control(config: PreTrainedConfig, processing: PolicyProcessing, mode: str) -> Iterator[str]:
    if getattr(config, "use_relative_actions", False):
        yield "policy.settings.use_relative_actions: LIBERO's actions are no joint targets; set it to false"
    for step in _normalisers(processing.preprocessor):
        shown = demonstrated_control(step.stats or {})
        if shown is not None and shown != mode:
            yield (
                f"simulation.control_mode: {mode}, but the policy was cloned from {shown} actions; set it to "
                f"{shown}, or clone again"
            )


def _normalisers(
    pipeline: PolicyProcessorPipeline,
) -> list[NormalizerProcessorStep | UnnormalizerProcessorStep]:
    kinds = (NormalizerProcessorStep, UnnormalizerProcessorStep)
    return [step for step in pipeline.steps if isinstance(step, kinds)]


def demonstrated_control(statistics: dict[str, dict[str, Any]]) -> str | None:
    """How the demonstrated actions move the arm, by their rotation; None where there are no statistics.

    The hand points down: a pose is turned by half a circle against the world, a step by next to nothing.
    LIBERO's 7 dims hold a rotation vector (a pose's reaches pi, a step's stays within 1), XVLA's 10 or 20 the
    first two columns of a matrix (two diagonal entries: they sum to 2 for a step, to 0 for that hand).
    """
    actions = {name: np.ravel(value) for name, value in statistics.get(ACTION, {}).items()}
    if not {"mean", "min", "max"} <= actions.keys():
        return None
    if len(actions["mean"]) == 7:
        reach = np.abs(np.stack([actions["min"], actions["max"]]))[:, 3:6].max()
        return "absolute" if reach > 1.5 else "relative"
    if len(actions["mean"]) >= 10:
        return "absolute" if actions["mean"][3] + actions["mean"][7] < 1 else "relative"
    return None
