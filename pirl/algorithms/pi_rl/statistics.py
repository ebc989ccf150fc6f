"""What is logged of an update's decisions, under the names of docs/algorithms/pi_rl.md."""

from __future__ import annotations

from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.pi_rl.credit import Credit


def batch_statistics(batch: UpdateBatch, credit: Credit, policy_version: int) -> dict[str, float]:
    """Advantages, values and rollouts of one update.

    Args:
        batch: its decisions.
        credit: what the critic and the rewards say about them.
        policy_version: the learner's when they were read.
    """
    gap = ((batch.old_log_prob - batch.info["log_prob"]).abs() * batch.executed).sum(-1)
    return {
        "advantage/mean": float(credit.advantages.mean()),
        "advantage/std": float(credit.advantages.std(unbiased=False)),
        "value/mean": float(credit.values.mean()),
        "value/return_mean": float(credit.returns.mean()),
        "rollout/episodes": float(batch.episode_end.sum()),
        "rollout/decisions": float(batch.size),
        "rollout/batch_success_rate": float(batch.done.sum() / batch.episode_end.sum()),
        **_success_by_lead(batch),
        "rollout/policy_lag": float((policy_version - batch.info["policy_version"]).mean()),
        "rollout/log_prob_gap": float(gap.mean()),
    }


def _success_by_lead(batch: UpdateBatch) -> dict[str, float]:
    """Success of the episodes that the critic led, and of those in which the policy was alone."""
    if "led" not in batch.info:
        return {}
    led, successes = batch.info["led"][batch.episode_end] > 0.5, batch.done[batch.episode_end].float()
    parts = {"led": successes[led], "alone": successes[~led]}
    return {f"rollout/success_rate_{name}": float(part.mean()) for name, part in parts.items() if len(part)}
