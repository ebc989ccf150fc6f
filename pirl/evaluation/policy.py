"""Loads any LeRobot policy folder for evaluation, as `lerobot-eval` would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from pirl.envs.tasks import get_task
from pirl.evaluation.plan import PlannedEpisode
from pirl.policies import adapters
from pirl.policies.adapters import merged
from pirl.policies.pickled import refuse_pickles
from pirl.policies.processing import PolicyProcessing


@dataclass
class EvaluationPolicy:
    """A policy, its pipelines, and how many steps of a chunk are executed."""

    policy: PreTrainedPolicy
    processing: PolicyProcessing
    chunk_size: int
    sampler = "the policy's own, without exploration noise"

    def act(self, episode: PlannedEpisode, observation: dict[str, Any]) -> np.ndarray:
        """The next actions [n, 7] by the policy's own sampler, without exploration noise."""
        encoded = self.processing.encode([observation], [get_task(*episode.task).language])
        with torch.inference_mode():
            chunk = self._sample(encoded)[:, : self.chunk_size]
        return np.ascontiguousarray(self.processing.decode(chunk)[0])

    def _sample(self, observation: dict[str, Tensor]) -> Tensor:
        """A chunk of actions [B, H, D]."""
        if hasattr(self.policy.config, "chunk_size"):
            return self.policy.predict_action_chunk(observation)
        return self.policy.select_action(observation).unsqueeze(1)


def load_policy(folder: str | Path, environment: dict[str, Any]) -> EvaluationPolicy:
    """Load the policy in `folder` (or of that hub id).

    Args:
        folder: a standard LeRobot policy folder.
        environment: LeRobot's LIBERO settings, without `type`.

    Raises:
        FileNotFoundError: when there is no such policy.
        PickledWeights: when its weights are a pickle.
        WeightsNotLoaded: when they do not fit its configuration.
    """
    refuse_pickles(Path(folder))
    config = PreTrainedConfig.from_pretrained(folder)
    config.device = "cuda" if torch.cuda.is_available() else "cpu"
    policy = merged(adapters.load_policy(config, folder))
    policy.to(config.device).eval()
    settings = {key: value for key, value in environment.items() if key != "type"}
    processing = PolicyProcessing(config, LiberoEnv(**settings), pretrained_path=folder)
    return EvaluationPolicy(policy, processing, getattr(config, "n_action_steps", 1))
