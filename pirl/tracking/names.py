"""One name per metric, the same for SAC and PI-RL, each with its unit and meaning.

The x axis of every metric is environment steps (control steps of the simulator). docs/mlflow.md shows this
glossary as a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENV_STEP_KEYS = ("Interaction step",)


@dataclass(frozen=True)
class Metric:
    """What a logged number is: its unit (`1` for a pure number) and its meaning."""

    unit: str
    meaning: str


METRICS: dict[str, Metric] = {
    # Both algorithms
    "rollout/success_rate": Metric(
        "share", "successes among the latest training episodes, under exploration noise"
    ),
    "rollout/success_rate/<task_id>": Metric("share", "the same for one task"),
    "rollout/episode_return": Metric("reward", "sum of rewards of one training episode"),
    "rollout/replay_transitions": Metric("transitions", "filling of the replay buffer"),
    "loss/policy": Metric("1", "PI-RL: clipped PPO surrogate; SAC: actor loss"),
    "loss/value": Metric("1", "PI-RL: critic's regression to returns; SAC: mean loss of the Q ensemble"),
    "grad_norm/actor": Metric("1", "norm of the actor's gradient before clipping"),
    "grad_norm/critic": Metric("1", "norm of the critic's gradient before clipping"),
    "time/update_s": Metric("s", "wall time of one update (PI-RL: all epochs over one batch of rollouts)"),
    "time/updates_per_s": Metric("1/s", "updates per second of wall time"),
    "progress/updates": Metric("updates", "updates so far"),
    # PI-RL only
    "loss/bc": Metric("1", "imitation loss of the hybrid mode"),
    "policy/approx_kl": Metric(
        "nat", "mean divergence of the policy from the one that acted; above 0.05 is fast"
    ),
    "policy/approx_kl_max": Metric("nat", "largest divergence of a minibatch"),
    "policy/kl_stop": Metric("0 or 1", "whether the divergence ended the update early"),
    "policy/epochs": Metric("epochs", "epochs done over the batch"),
    "policy/clip_fraction": Metric("share", "log-prob ratios outside the clip range; 0.05 to 0.3 is usual"),
    "policy/ratio_max": Metric("1", "largest log-prob ratio of the update"),
    "policy/entropy": Metric("nat", "entropy of the denoising steps' Gaussian"),
    "policy/gripper_entropy": Metric("nat", "entropy of the gripper's decision"),
    "advantage/mean": Metric("reward", "mean advantage before normalisation"),
    "advantage/std": Metric("reward", "spread of the advantages before normalisation"),
    "value/mean": Metric("reward", "mean of the critic's estimates"),
    "value/return_mean": Metric("reward", "mean return that the critic is fitted to"),
    "value/explained_variance": Metric(
        "share", "1: the critic predicts returns perfectly; below 0: worse than a constant"
    ),
    "rollout/episodes": Metric("episodes", "episodes in the update's batch"),
    "rollout/decisions": Metric("decisions", "action chunks in the update's batch"),
    "rollout/batch_success_rate": Metric("share", "successes among the episodes of the update's batch"),
    "rollout/success_rate_led": Metric("share", "successes among its episodes that the critic led"),
    "rollout/success_rate_alone": Metric(
        "share", "successes among its episodes in which the policy decided alone"
    ),
    "rollout/policy_lag": Metric("updates", "mean age of the policy that acted; 0 is on-policy"),
    "rollout/dropped_episodes": Metric("episodes", "episodes refused as too old or of lost updates, so far"),
    "rollout/log_prob_gap": Metric(
        "nat", "actor's and learner's log-probs of the same actions; near 0 unless they disagree"
    ),
    "grad_norm/skipped": Metric("share", "minibatches skipped for a gradient that was not finite"),
    "lr/actor": Metric("1", "learning rate of the actor"),
    "lr/critic": Metric("1", "learning rate of the critic"),
    # SAC only
    "loss/temperature": Metric("1", "loss of the entropy temperature"),
    "policy/temperature": Metric("1", "entropy temperature"),
    "grad_norm/temperature": Metric("1", "gradient of the temperature"),
    # Evaluation
    "select/success_rate": Metric("share", "successes on the selection starts; ranks checkpoints"),
    "eval/<suite>/success_rate": Metric("share", "successes on a suite's official initial states"),
    "eval/average/success_rate": Metric("share", "mean over the tested suites"),
    "eval/smoke/success_rate": Metric("share", "successes on the trained tasks, official initial states"),
    "eval/smoke_wide/success_rate": Metric("share", "successes on the trained tasks, wide starts"),
    "eval/smoke_exact/success_rate": Metric(
        "share", "successes on the trained tasks, official initial states, stock rendering"
    ),
    "eval/average/success_rate/<recipe>": Metric(
        "share", "on the parent run: each recipe's mean over the tested suites"
    ),
    # Stages
    "time/stage_s": Metric("s", "wall time of a stage of the pipeline"),
    "checkpoint/env_steps": Metric("steps", "environment steps at which a checkpoint was written"),
    "system/<part>": Metric(
        "as named", "load of the machine every ten seconds: processor, memory, disk, network, GPUs"
    ),
}

LEROBOT_NAMES = {
    "loss_critic": "loss/value",
    "loss_actor": "loss/policy",
    "loss_temperature": "loss/temperature",
    "temperature": "policy/temperature",
    "critic_grad_norm": "grad_norm/critic",
    "actor_grad_norm": "grad_norm/actor",
    "temperature_grad_norm": "grad_norm/temperature",
    "Episodic reward": "rollout/episode_return",
    "replay_buffer_size": "rollout/replay_transitions",
    "Optimization step": "progress/updates",
    "Optimization frequency loop [Hz]": "time/updates_per_s",
}


def standard_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Rename LeRobot's metrics to the shared names; others stay, less the characters MLflow refuses."""
    return {_allowed(LEROBOT_NAMES.get(key, key)): value for key, value in metrics.items()}


def evaluation_metrics(summary: Mapping[str, Any], protocol: str) -> dict[str, float]:
    """Success rates of an evaluation summary under their shared names; none where nothing was tested.

    Args:
        summary: holds `suites` {name: {`success_rate`}} and `average_success_rate`.
        protocol: `suites` gives one metric per suite and their average, any other name a single metric.
    """
    if not summary["suites"]:
        return {}
    if protocol != "suites":
        return {f"eval/{protocol}/success_rate": summary["average_success_rate"]}
    rates = {
        f"eval/{suite}/success_rate": values["success_rate"] for suite, values in summary["suites"].items()
    }
    return rates | {"eval/average/success_rate": summary["average_success_rate"]}


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "", name).strip()
