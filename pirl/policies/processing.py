"""From LIBERO's raw observation to a policy's input, and from its output to LIBERO's action.

The pipelines are LeRobot's own, the same that `lerobot-eval` composes: environment processor, policy
preprocessor; policy postprocessor, environment postprocessor. So what is rolled out and trained here is
what stock evaluation measures. Rotations alone are computed faster (`rotations.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs import make_env_pre_post_processors, preprocess_observation
from lerobot.envs.configs import EnvConfig
from lerobot.policies import make_pre_post_processors
from lerobot.processor import PolicyProcessorPipeline
from lerobot.utils.constants import ACTION, OBS_LANGUAGE
from torch import Tensor

from pirl.policies.rotations import at_once

DOMAIN_ID = "domain_id"
# What LeRobot's XVLA *environment* processor for LIBERO already does (make_xvla_libero_pre_post_processors).
# lerobot-train saves the same steps in the policy's own preprocessor; run twice, XVLAImageToFloat refuses
# images that are already normalised. They are left to the environment's side.
XVLA_LIBERO_STEPS = ("xvla_image_to_float", "xvla_imagenet_normalize", "xvla_add_domain_id")


class PolicyProcessing:
    """The four LeRobot pipelines around one policy in one kind of environment."""

    def __init__(
        self,
        config: PreTrainedConfig,
        environment: EnvConfig,
        *,
        pretrained_path: str | Path | None = None,
        dataset_stats: dict[str, dict[str, Tensor]] | None = None,
    ) -> None:
        """Load the policy's pipelines from a checkpoint folder, or build them from data set statistics.

        Args:
            config: the policy's configuration; decides the environment pipelines as in `lerobot-eval`.
            environment: LeRobot's environment configuration.
            pretrained_path: folder with `policy_preprocessor.json` and `policy_postprocessor.json`.
            dataset_stats: statistics for fresh pipelines when there is no such folder.
        """
        self._input_features = set(config.input_features or {})
        self._environment_in, self._environment_out = make_env_pre_post_processors(environment, config)
        self._frame_in: PolicyProcessorPipeline = PolicyProcessorPipeline(
            [step for step in self._environment_in.steps if _is_xvla_libero(step)]
        )
        device = {"device_processor": {"device": str(config.device)}}
        self.preprocessor: PolicyProcessorPipeline
        self.postprocessor: PolicyProcessorPipeline
        if pretrained_path is None:
            pipelines = make_pre_post_processors(config, dataset_stats=dataset_stats)
        else:
            pipelines = make_pre_post_processors(
                config, pretrained_path=str(pretrained_path), preprocessor_overrides=device
            )
        self.preprocessor, self.postprocessor = pipelines
        self.preprocessor.steps = [step for step in self.preprocessor.steps if not _is_xvla_libero(step)]
        for pipeline in (self.postprocessor, self._environment_out):
            pipeline.steps = [at_once(step) for step in pipeline.steps]

    def encode(
        self, observations: Sequence[dict[str, Any]], instructions: Sequence[str]
    ) -> dict[str, Tensor]:
        """Turn raw observations into the policy's input.

        Args:
            observations: B observations in stock `LiberoEnv` format (nested dicts of numpy arrays).
            instructions: B task sentences.

        Returns:
            The tensors the policy reads, each with leading dimension B.
        """
        batch = preprocess_observation(_stack(observations))
        batch["task"] = list(instructions)
        encoded = self.preprocessor(self._environment_in(batch))
        return {key: value for key, value in encoded.items() if self._is_input(key, value)}

    def encode_frame(self, frame: dict[str, Any]) -> dict[str, Tensor]:
        """Turn a data set frame, with LIBERO's raw observations converted already, into an input [1, ...]."""
        batch = {key: value.unsqueeze(0) for key, value in frame.items() if key in self._input_features}
        encoded = self.preprocessor(self._frame_in(batch | {"task": [frame["task"]]}))
        return {key: value for key, value in encoded.items() if self._is_input(key, value)}

    def decode(self, actions: Tensor) -> np.ndarray:
        """Turn policy-space actions [B, H, D] into LIBERO's actions, float32 [B, H, 7]."""
        batch, horizon = actions.shape[:2]
        flat = self.postprocessor(actions.reshape(batch * horizon, -1).clone())
        flat = self._environment_out({ACTION: flat})[ACTION]
        return flat.to("cpu", torch.float32).numpy().reshape(batch, horizon, -1)

    def _is_input(self, key: str, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return False
        return key in self._input_features or key.startswith(OBS_LANGUAGE) or key == DOMAIN_ID


def _is_xvla_libero(step: Any) -> bool:
    return getattr(step, "_registry_name", None) in XVLA_LIBERO_STEPS


def _stack(observations: Sequence[Any]) -> Any:
    """Stack nested dicts of arrays along a new leading dimension."""
    first = observations[0]
    if isinstance(first, dict):
        return {key: _stack([observation[key] for observation in observations]) for key in first}
    return np.stack(observations)
