"""One update's decisions, with everything that does not change while the policy is optimised."""

from __future__ import annotations

from typing import NamedTuple

import torch
from lerobot.lerobot_types import BatchType
from torch import Tensor, nn

from pirl.algorithms.acting import SCENE_STATE
from pirl.algorithms.pi_rl.advantages import generalised_advantages, group_advantages
from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.rollouts import start_groups
from pirl.algorithms.pi_rl.stochastic_policy import Evaluation, StochasticPolicy
from pirl.algorithms.processes import Pass, Processes
from pirl.policies.flow_policy import Context, integer_ids

STORED = ("chain", "stochastic_step", "gripper")
CriticInputs = tuple[Tensor, ...]
"""Detached tokens [B, T, F] and proprioception [B, P], or scene states [B, S]."""


class UpdateBatch:
    """N decisions of complete episodes, in order.

    A frozen encoder runs once per observation here; a trained one, or without `cache_encoder` any, runs again
    in every minibatch. The critic's input is of the policy before the update. Each of several processes
    encodes and keeps its own decisions.

    Attributes:
        executed: steps the environment executed, bool [N, H].
        old_log_prob: behaviour policy's, recomputed by the learner with its own kernels, [N, H].
    """

    def __init__(
        self,
        batch: BatchType,
        policy: StochasticPolicy,
        config: PiRLConfig,
        processes: Processes | None = None,
    ) -> None:
        self.raw = batch
        self.policy = policy
        self.config = config
        self.processes = processes or Processes()
        self.device = policy.device
        self.size = len(batch["reward"])
        self.info = {key: value.to(self.device) for key, value in batch["complementary_info"].items()}
        self.rewards = batch["reward"].to(self.device)
        self.done = batch["done"].to(self.device) > 0.5
        self.episode_end = self.done | (batch["truncated"].to(self.device) > 0.5)
        self.executed_steps = integer_ids(self.info["executed_steps"])
        steps = torch.arange(policy.flow.executed_steps, device=self.device)
        self.executed = steps < self.executed_steps[:, None]
        self._contexts: Context = {}
        self._critic_tokens: Tensor | None = None
        self._prepare()

    @property
    def micro_batch_size(self) -> int:
        """Decisions per forward pass."""
        return min(self.config.micro_batch_size or self.config.minibatch_size, self.config.minibatch_size)

    def evaluate(self, rows: Tensor) -> Evaluation:
        """Log-prob and entropy of some decisions under the present policy."""
        return self.policy.evaluate(self.context(rows), self.stored(rows))

    def critic_values(self, critic: nn.Module, rows: Tensor) -> Tensor:
        """V(s) of some decisions, with gradients for the critic alone."""
        return critic(*self._critic_inputs(rows))

    @torch.no_grad()
    def values(self, critic: nn.Module) -> tuple[Tensor, Tensor]:
        """V(s) [N], and V(s') [N] where an episode timed out and is to bootstrap (0 elsewhere)."""
        values, final = torch.zeros_like(self.rewards), torch.zeros_like(self.rewards)
        for rows, share in self.passes(self._all):
            value = self.critic_values(critic, rows)
            if share:
                values[rows] = value
        if not self.config.bootstrap_timeouts:
            return self.processes.sum(values), final
        timeouts = (self.episode_end & ~self.done).nonzero().flatten()
        for rows, share in self.passes(timeouts):
            value = critic(*self._inputs_of(self._encode("next_state", rows)))
            if share:
                final[rows] = value
        return self.processes.sum(values), self.processes.sum(final)

    @torch.no_grad()
    def _prepare(self) -> None:
        """Encode once, recompute the behaviour log-probs, keep what later passes need."""
        self.policy.flow.eval()
        frozen = self.policy.flow.encoder_is_frozen
        critic_input = self.config.critic_input
        keep_tokens = critic_input == "action_tokens" or (critic_input == "observation" and not frozen)
        cached = frozen and self.config.cache_encoder
        contexts, inputs = [], []
        self._all = torch.arange(self.size, device=self.device)
        log_prob = torch.zeros_like(self.executed, dtype=torch.float32)
        for rows, share in self.passes(self._all):
            context = self._encode("state", rows)
            recomputed = self.policy.evaluate(context, self.stored(rows)).log_prob
            if share:
                log_prob[rows] = recomputed
            # What only keeps step comes last, and is all that a process without own decisions keeps.
            if cached:
                contexts.append(context)
            if keep_tokens:
                inputs.append(self._inputs_of(context))
        self.old_log_prob = self.processes.sum(log_prob)
        if contexts:
            self._contexts = {key: torch.cat([c[key] for c in contexts]) for key in contexts[0]}
        if inputs:
            self._critic_tokens = torch.cat([tokens for tokens, _ in inputs])
            self._critic_state = torch.cat([state for _, state in inputs])

    def _encode(self, which: str, rows: Tensor) -> Context:
        observations = self.raw[which]  # type: ignore[literal-required]
        return self.policy.encode({key: value[rows.to(value.device)] for key, value in observations.items()})

    def context(self, rows: Tensor) -> Context:
        """Encoded observations of some decisions."""
        if not self._contexts:
            return self._encode("state", rows)
        return {key: value[self._kept(rows)] for key, value in self._contexts.items()}

    def forget_pictures(self) -> None:
        """Drop the observations where their encodings are kept: the decisions can still be evaluated."""
        if self._contexts:
            self.raw = {**self.raw, "state": {}, "next_state": {}}

    def _kept(self, rows: Tensor) -> Tensor:
        """Where own decisions lie among those that this process keeps."""
        return rows // self.processes.count

    def stored(self, rows: Tensor) -> dict[str, Tensor]:
        """What the actor stored of some decisions to tell their log-prob."""
        return {key: self.info[key][rows] for key in STORED if key in self.info}

    def _critic_inputs(self, rows: Tensor) -> CriticInputs:
        if self.config.critic_input == "scene":
            return (self.info[SCENE_STATE][rows],)
        if self._critic_tokens is not None:
            return self._critic_tokens[self._kept(rows)], self._critic_state[self._kept(rows)]
        return self._inputs_of(self.context(rows))

    def _inputs_of(self, context: Context) -> CriticInputs:
        flow = self.policy.flow
        tokens, state = flow.critic_inputs(context)
        if self.config.critic_input == "action_tokens":
            # Zero noise at t = 1: the same function of the observation in rollout and update.
            x = torch.zeros(len(state), flow.horizon, flow.model_dims, device=self.device)
            tokens = flow.denoise(context, x, torch.ones(len(state), device=self.device)).tokens
        return tokens.detach(), state.detach()

    def passes(self, rows: Tensor) -> list[Pass]:
        """This process's forward passes over some decisions of the batch."""
        return self.processes.passes(rows, self.micro_batch_size, self.size)


def discounted_returns(batch: UpdateBatch) -> Tensor:
    """What each decision's episode still earned, [N]; a time-out earns nothing more."""
    none = torch.zeros_like(batch.rewards)
    return generalised_advantages(
        batch.rewards, none, none, batch.done, batch.episode_end, _discounts(batch), gae_lambda=1.0
    )[0]


def _discounts(batch: UpdateBatch) -> Tensor:
    steps = batch.executed_steps
    return batch.config.gamma ** (steps if batch.config.discount_per_step else torch.ones_like(steps)).float()


class Advantages(NamedTuple):
    """What the critic and the rewards say about N decisions."""

    values: Tensor
    advantages: Tensor  # not normalised
    returns: Tensor


def estimate_advantages(batch: UpdateBatch, critic: nn.Module | None) -> Advantages:
    """GAE with a critic, else GRPO's comparison of episodes from one initial state."""
    config = batch.config
    if critic is None:
        episode = batch.episode_end.cumsum(0) - batch.episode_end.long()
        scores = torch.zeros(int(batch.episode_end.sum()), device=batch.device)
        scores = scores.index_add(0, episode, batch.rewards)
        groups = start_groups(batch.raw, batch.episode_end).to(batch.device)
        advantages = group_advantages(scores, groups)[episode]
        return Advantages(torch.zeros_like(advantages), advantages, scores[episode])
    values, final_values = batch.values(critic)
    advantages, returns = generalised_advantages(
        batch.rewards,
        values,
        final_values,
        batch.done,
        batch.episode_end,
        _discounts(batch),
        config.gae_lambda,
    )
    return Advantages(values, advantages, returns)
