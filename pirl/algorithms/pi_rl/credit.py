"""What an update credits, and with what: decisions that were made, could have been made, or should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from pirl.algorithms.acting import SCENE_STATE
from pirl.algorithms.pi_rl.advantages import explained_variance
from pirl.algorithms.pi_rl.batch import UpdateBatch, discounted_returns, estimate_advantages
from pirl.algorithms.pi_rl.critic_memory import CriticMemory
from pirl.algorithms.pi_rl.imagination import Commands, Imagination, made_inputs, preferred_actions
from pirl.algorithms.pi_rl.lessons import Lesson
from pirl.algorithms.pi_rl.optimisation import Optimisation


class Credit(NamedTuple):
    """What the critic and the rewards say about an update."""

    decisions: UpdateBatch | Imagination  # those that the advantages belong to
    values: Tensor  # V(s) or Q(s, a) of the decisions that were made, [N]
    advantages: Tensor  # not normalised, [N], or [N, M] of imagined ones
    returns: Tensor  # targets of the critic, [N]
    foreseen: float  # variance of the returns that the critic explained before it saw them
    preferred: Lesson | None = None  # what to imitate; None: the advantages decide


@dataclass
class Estimator:
    """Fits the critic where that comes first, and asks it.

    Attributes:
        critic: None for GRPO.
        memory: what a `scene` critic is fitted to; None: the update's own decisions in PPO's epochs.
        commands: the policy's postprocessor, for an action-value critic.
        optimisation: of this update.
        first: whether the critic is still to be warmed up.
    """

    critic: nn.Module | None
    memory: CriticMemory | None
    commands: Commands | None
    optimisation: Optimisation
    first: bool

    def credit(self, batch: UpdateBatch) -> Credit:
        """Whatever `batch.config.advantage` and `batch.config.objective` ask for.

        Raises:
            RuntimeError: when an action-value critic lacks what it needs.
        """
        return self._action_values(batch) if batch.config.advantage == "action_value" else self._made(batch)

    def _made(self, batch: UpdateBatch) -> Credit:
        """GAE or GRPO of the decisions that were made."""
        estimate = estimate_advantages(batch, self.critic)
        if self.critic is not None and self.first and batch.config.critic_warmup_epochs:
            self.optimisation.warm_up_critic(batch, estimate.returns)
            estimate = estimate_advantages(batch, self.critic)
        foreseen = explained_variance(estimate.values, estimate.returns)
        if self.memory is not None:
            earned = discounted_returns(batch)
            foreseen = explained_variance(estimate.values, earned)
            self.memory.add(batch.info[SCENE_STATE], earned)
            self.optimisation.fit_critic(self.memory, batch.processes)
            estimate = estimate_advantages(batch, self.critic)
        return Credit(batch, *estimate, foreseen)

    def _action_values(self, batch: UpdateBatch) -> Credit:
        """What a critic that sees actions says of others in the place of those that were made."""
        if self.commands is None or self.critic is None or self.memory is None:
            raise RuntimeError("advantage=action_value: set `commands` before update")
        config, taken = batch.config, made_inputs(batch, self.commands)
        # Drawn before the critic is fitted: the order of random numbers is part of a run.
        imagination = None if config.objective == "preferred" else Imagination(batch, self.commands)
        earned = discounted_returns(batch)
        foreseen = explained_variance(self.critic(taken).detach(), earned)
        self.memory.add(taken, earned)
        self.optimisation.fit_critic(self.memory, batch.processes, self.first)
        values = self.critic(taken).detach()
        if imagination is not None:
            return Credit(imagination, values, imagination.advantages(self.critic), earned, foreseen)
        lesson, advantages = self._preferred(batch)
        return Credit(batch, values, advantages, earned, foreseen, lesson)

    def reconsider(self, past: UpdateBatch) -> Lesson:
        """What the critic prefers by now in the place of an earlier update's decisions."""
        return self._preferred(past)[0]

    def _preferred(self, batch: UpdateBatch) -> tuple[Lesson, Tensor]:
        assert self.commands is not None and self.critic is not None
        actions, advantages = preferred_actions(batch, self.commands, self.critic)
        return Lesson(batch, actions, advantages.std(1)), advantages
