"""One update's decisions, with everything that does not change while the policy is optimised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lerobot.lerobot_types import BatchType
from torch import Tensor

from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.networks import Critic
from pirl.algorithms.pi_rl.stochastic_policy import Evaluation, StochasticPolicy
from pirl.policies.flow_policy import Context, integer_ids

STORED = ("chain", "stochastic_step", "gripper")


@dataclass
class CriticInputs:
    """Detached input of the critic, [N, ...]."""

    tokens: Tensor
    state: Tensor

    def select(self, rows: Tensor) -> CriticInputs:
        return CriticInputs(self.tokens[rows], self.state[rows])


class UpdateBatch:
    """N decisions of complete episodes, in order.

    A frozen encoder runs once per observation here; a trained one runs again in every minibatch.

    Attributes:
        executed: steps the environment executed, bool [N, H].
        old_log_prob: behaviour policy's, recomputed by the learner with its own kernels, [N, H].
        critic_inputs: of every decision.
    """

    def __init__(self, batch: BatchType, policy: StochasticPolicy, config: PiRLConfig) -> None:
        self.raw = batch
        self.policy = policy
        self.config = config
        self.device = policy.device
        self.size = len(batch["reward"])
        info = batch["complementary_info"]
        self.info = {key: value.to(self.device) for key, value in info.items()}
        self.rewards = batch["reward"].to(self.device)
        self.done = batch["done"].to(self.device) > 0.5
        self.episode_end = self.done | (batch["truncated"].to(self.device) > 0.5)
        self.executed_steps = integer_ids(self.info["executed_steps"])
        steps = torch.arange(policy.flow.executed_steps, device=self.device)
        self.executed = steps < self.executed_steps[:, None]
        self._cache = policy.flow.encoder_is_frozen
        self._prepare()

    @property
    def micro_batch_size(self) -> int:
        """Decisions per forward pass."""
        return min(self.config.micro_batch_size or self.config.minibatch_size, self.config.minibatch_size)

    def evaluate(self, rows: Tensor) -> Evaluation:
        """Log-prob and entropy of some decisions under the present policy."""
        stored = {key: self.info[key][rows] for key in STORED if key in self.info}
        return self.policy.evaluate(self._context(rows), stored)

    @torch.no_grad()
    def values(self, critic: Critic) -> tuple[Tensor, Tensor]:
        """V(s) [N], and V(s') [N] where an episode timed out (0 elsewhere)."""
        values = torch.cat(
            [self._value(critic, self.critic_inputs.select(rows)) for rows in self._pieces(self.size)]
        )
        final = torch.zeros_like(values)
        if len(self._timeouts):
            final[self._timeouts] = self._value(critic, self._final_inputs)
        return values, final

    def critic_values(self, critic: Critic, rows: Tensor) -> Tensor:
        """V(s) of some decisions, with gradients for the critic alone."""
        return self._value(critic, self.critic_inputs.select(rows))

    @torch.no_grad()
    def _prepare(self) -> None:
        self.policy.flow.eval()
        contexts, inputs, log_probs = [], [], []
        for rows in self._pieces(self.size):
            context = self.policy.encode({key: value[rows.cpu()] for key, value in self.raw["state"].items()})
            inputs.append(self._critic_inputs(context))
            stored = {key: self.info[key][rows] for key in STORED if key in self.info}
            log_probs.append(self.policy.evaluate(context, stored).log_prob)
            if self._cache:
                contexts.append(context)
        self._contexts = _concatenate(contexts) if self._cache else {}
        self.old_log_prob = torch.cat(log_probs)
        self.critic_inputs = CriticInputs(
            torch.cat([piece.tokens for piece in inputs]), torch.cat([piece.state for piece in inputs])
        )
        self._timeouts = (self.episode_end & ~self.done).nonzero().flatten()
        final = []
        for piece in self._pieces(len(self._timeouts)):
            rows = self._timeouts[piece].cpu()
            context = self.policy.encode({key: value[rows] for key, value in self.raw["next_state"].items()})
            final.append(self._critic_inputs(context))
        if final:
            self._final_inputs = CriticInputs(
                torch.cat([piece.tokens for piece in final]), torch.cat([piece.state for piece in final])
            )

    def _context(self, rows: Tensor) -> Context:
        if self._cache:
            return {key: value[rows] for key, value in self._contexts.items()}
        return self.policy.encode({key: value[rows.cpu()] for key, value in self.raw["state"].items()})

    def _critic_inputs(self, context: Context) -> CriticInputs:
        flow = self.policy.flow
        tokens, state = flow.critic_inputs(context)
        if self.config.critic_input == "action_tokens":
            # Zero noise at t = 1: the same function of the observation in rollout and update.
            x = torch.zeros(len(state), flow.horizon, flow.model_dims, device=self.device)
            tokens = flow.denoise(context, x, torch.ones(len(state), device=self.device)).tokens
        return CriticInputs(tokens.detach(), state.detach())

    def _value(self, critic: Critic, inputs: CriticInputs) -> Tensor:
        return critic(inputs.tokens, inputs.state)

    def _pieces(self, size: int) -> list[Tensor]:
        return list(torch.arange(size, device=self.device).split(self.micro_batch_size)) if size else []


def _concatenate(contexts: list[Context]) -> Context:
    return {key: torch.cat([context[key] for context in contexts]) for key in contexts[0]}
