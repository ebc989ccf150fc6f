"""The optimisation of one update: fitting the critic, PPO epochs with the KL stop, or imitation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.critic_memory import CriticMemory
from pirl.algorithms.pi_rl.imagination import Imagination
from pirl.algorithms.pi_rl.lessons import Lessons
from pirl.algorithms.pi_rl.losses import approximate_kl, log_ratios, policy_loss, value_loss
from pirl.algorithms.pi_rl.optimizers import annealed
from pirl.algorithms.processes import Processes
from pirl.algorithms.sharding import clip_gradients
from pirl.precision import autocast

ImitationLoss = Callable[[int], Tensor]
"""Flow-matching loss on an offline batch matched to so many online decisions."""


class Means:
    """Running means of scalars, by name."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._weights: dict[str, float] = defaultdict(float)
        self._maxima: dict[str, float] = {}

    def add(self, name: str, value: float | Tensor, weight: float = 1.0) -> None:
        self._sums[name] += float(value) * weight
        self._weights[name] += weight

    def maximum(self, name: str, value: float | Tensor) -> None:
        self._maxima[name] = max(self._maxima.get(name, -math.inf), float(value))

    @classmethod
    def merged(cls, parts: list[Means]) -> Means:
        """The means of several processes; what all have noted alike stays the mean it is."""
        whole = cls()
        for part in parts:
            for name, total in part._sums.items():
                whole._sums[name] += total
                whole._weights[name] += part._weights[name]
            for name, value in part._maxima.items():
                whole.maximum(name, value)
        return whole

    def result(self) -> dict[str, float]:
        means = {
            name: total / self._weights[name] for name, total in self._sums.items() if self._weights[name]
        }
        return means | self._maxima


class Optimisation:
    """Minimises the losses of one update.

    Attributes:
        steps: optimizer steps done so far, over all updates.
        metrics: means over the update's minibatches.
    """

    def __init__(
        self,
        config: PiRLConfig,
        critic: nn.Module | None,
        optimizers: dict[str, Optimizer],
        learning_rates: dict[str, list[float]],
        decay: float,
        steps: int,
    ) -> None:
        """Set up.

        Args:
            config: the algorithm's settings.
            critic: None for GRPO.
            optimizers: `actor`, and `critic` unless that is None.
            learning_rates: full rate of every parameter group.
            decay: factor of the learning-rate schedule for this update.
            steps: optimizer steps done before.
        """
        self._config = config
        self._critic = critic
        self._optimizers = optimizers
        self._learning_rates = learning_rates
        self._decay = decay
        self.steps = steps
        self.metrics = Means()

    def warm_up_critic(self, batch: UpdateBatch, returns: Tensor) -> None:
        """Fit the critic to returns before the policy moves, without value clipping."""
        critic, epochs = self._critic, self._config.critic_warmup_epochs
        assert critic is not None
        self._fit(lambda rows: batch.critic_values(critic, rows), returns, epochs, batch.processes)

    def fit_critic(self, memory: CriticMemory, processes: Processes, first: bool = False) -> None:
        """Fit the critic to the returns of all remembered decisions, the `first` time until it is warm."""
        critic, epochs = self._critic, self._config.critic_epochs
        assert critic is not None
        if first:
            epochs = max(epochs, self._config.critic_warmup_epochs)
        losses = self._fit(lambda rows: critic(memory.inputs[rows]), memory.returns, epochs, processes)
        for loss, share in losses:
            self.metrics.add("loss/value", loss, share)

    def _fit(
        self, values_of: Callable[[Tensor], Tensor], returns: Tensor, epochs: int, processes: Processes
    ) -> list[tuple[Tensor, float]]:
        """Fit the critic alone; the losses of this process's shares of the minibatches."""
        losses = []
        for _ in range(epochs):
            for rows in self._minibatches(len(returns), processes, returns.device):
                for own, share in processes.passes(rows, len(rows), len(returns)):
                    values = values_of(own)
                    loss = value_loss(values, values.detach(), returns[own], None, self._config.huber_delta)
                    (loss * share).backward()
                    losses.append((loss.detach(), share))
                self._step("critic", processes, warmup=False)
        return losses

    def run(
        self,
        batch: UpdateBatch,
        decisions: UpdateBatch | Imagination,
        advantages: Tensor,
        values: Tensor,
        returns: Tensor,
        imitation: ImitationLoss | None,
    ) -> None:
        """PPO epochs over the batch, ended early when the KL passes its bound.

        Each of several processes adds its own decisions' part to the gradients of every minibatch, which is
        divided by the whole minibatch's size: all take the step that one process would.

        Args:
            batch: the decisions that were made.
            decisions: those that are credited, the same or M imagined ones in the place of each.
            advantages: normalised, [N], or [N, M] of imagined ones.
            values: V(s) before the update, [N].
            returns: targets of the critic, [N].
            imitation: hybrid mode's offline loss; None without.
        """
        for epoch in range(self._config.epochs):
            for rows in self._minibatches(batch.size, batch.processes, batch.device):
                kl = self._policy_gradient(batch, decisions, rows, advantages, imitation)
                if self._config.target_kl is not None and kl > self._config.target_kl:
                    self._optimizers["actor"].zero_grad(set_to_none=True)
                    self.metrics.add("policy/kl_stop", 1.0)
                    self.metrics.add("policy/epochs", epoch)
                    return
                self._step("actor", batch.processes)
                if self._critic is not None and not self._config.critic_memory:
                    self._value_gradient(batch, rows, values, returns)
                    self._step("critic", batch.processes)
        self.metrics.add("policy/kl_stop", 0.0)
        self.metrics.add("policy/epochs", self._config.epochs)

    def imitate(self, lessons: Lessons) -> None:
        """Epochs of the policy's own flow-matching loss on other actions than those that were made.

        The rate falls to `lr_final_fraction` of itself meanwhile: the last steps average over minibatches.
        """
        latest = lessons.latest
        for epoch in range(self._config.epochs):
            minibatches = list(self._focused_minibatches(lessons.stakes, latest.processes))
            for index, chosen in enumerate(minibatches):
                self._imitate(lessons, lessons.numbers[chosen])
                progress = (epoch + index / len(minibatches)) / self._config.epochs
                annealing = annealed(progress, "cosine", self._config.lr_final_fraction)
                self._step("actor", latest.processes, annealing=annealing)
        self.metrics.add("policy/epochs", self._config.epochs)
        self._note_distance(latest)

    def _imitate(self, lessons: Lessons, rows: Tensor) -> None:
        """Accumulate the gradients of one minibatch."""
        batch = lessons.latest
        for piece, share in lessons.passes(rows):
            context, actions = lessons.look_up(piece)
            with autocast(batch.device, self._config.autocast):
                loss = batch.policy.flow.imitation_loss(context, actions)
            (loss * share).backward()
            if share:
                self.metrics.add("loss/policy", loss.detach(), share)

    @torch.no_grad()
    def _note_distance(self, batch: UpdateBatch) -> None:
        """How far the policy has moved on the decisions that were made."""
        for rows, share in batch.passes(torch.arange(batch.size, device=batch.device)):
            evaluation = batch.evaluate(rows)
            if share:
                moved = approximate_kl(evaluation.log_prob - batch.old_log_prob[rows], batch.executed[rows])
                self.metrics.add("policy/approx_kl", moved.mean(), share)
                self.metrics.add("policy/gripper_entropy", evaluation.gripper_entropy.mean(), share)

    def _minibatches(self, size: int, processes: Processes, device: torch.device) -> Iterator[Tensor]:
        """A fresh permutation, cut into minibatches of even size."""
        yield from self._cut(torch.randperm(size, device=device), processes)

    def _focused_minibatches(self, stakes: Tensor, processes: Processes) -> Iterator[Tensor]:
        """As many decisions as there are, `imitation_focus` of them by what is at stake, in minibatches."""
        focus = self._config.imitation_focus
        if not focus:
            yield from self._minibatches(len(stakes), processes, stakes.device)
            return
        chances = focus * stakes / stakes.mean().clamp(min=1e-12) + (1 - focus)
        yield from self._cut(torch.multinomial(chances, len(stakes), replacement=True), processes)

    def _cut(self, order: Tensor, processes: Processes) -> Iterator[Tensor]:
        processes.align([order])
        yield from order.tensor_split(max(1, math.ceil(len(order) / self._config.minibatch_size)))

    def _policy_gradient(
        self,
        batch: UpdateBatch,
        decisions: UpdateBatch | Imagination,
        rows: Tensor,
        advantages: Tensor,
        imitation: ImitationLoss | None,
    ) -> float:
        """Accumulate the policy's gradients of one minibatch; returns its KL to the behaviour policy."""
        config, divergence = self._config, 0.0
        level = config.ratio_level
        credited = advantages[rows].numel()
        total = decisions.executed[rows].sum() if level == "step" else torch.tensor(credited)
        for piece, share in batch.passes(rows):
            evaluation = decisions.evaluate(piece)
            executed = decisions.executed[piece].flatten(0, -2)
            old_log_prob = decisions.old_log_prob[piece].flatten(0, -2)
            log_ratio, weight = log_ratios(evaluation.log_prob, old_log_prob, executed, level)
            credit = advantages[piece].flatten()
            surrogate = policy_loss(log_ratio, weight, credit, config.clip, config.dual_clip) / total
            entropy = evaluation.entropy.mean()
            loss = surrogate - config.entropy_coefficient * entropy * share
            if imitation is not None:
                offline = imitation(len(piece))
                loss = loss + config.bc_coefficient * offline * share
                self.metrics.add("loss/bc", offline.detach(), share)
            if not share:
                (0.0 * loss).backward()
                continue
            loss.backward()
            with torch.no_grad():
                difference = evaluation.log_prob - old_log_prob
                divergence += float(approximate_kl(difference, executed).sum()) / credited
                self._note_policy(surrogate, log_ratio.exp(), weight, evaluation, share)
        divergence = sum(batch.processes.gather(divergence))
        self.metrics.add("policy/approx_kl", divergence)
        self.metrics.maximum("policy/approx_kl_max", divergence)
        return divergence

    def _note_policy(
        self, surrogate: Tensor, ratio: Tensor, weight: Tensor, evaluation, share: float
    ) -> None:
        outside = ((ratio - 1).abs() > self._config.clip) * weight
        self.metrics.add("loss/policy", surrogate / share, share)
        self.metrics.add("policy/clip_fraction", outside.sum() / weight.sum().clamp_min(1), share)
        self.metrics.maximum("policy/ratio_max", torch.where(weight > 0, ratio, torch.ones_like(ratio)).max())
        self.metrics.add("policy/entropy", evaluation.entropy.mean(), share)
        self.metrics.add("policy/gripper_entropy", evaluation.gripper_entropy.mean(), share)

    def _value_gradient(self, batch: UpdateBatch, rows: Tensor, old_values: Tensor, returns: Tensor) -> None:
        assert self._critic is not None
        for own, share in batch.processes.passes(rows, len(rows), batch.size):
            values = batch.critic_values(self._critic, own)
            loss = value_loss(
                values, old_values[own], returns[own], self._config.value_clip, self._config.huber_delta
            )
            (self._config.value_coefficient * share * loss).backward()
            self.metrics.add("loss/value", loss.detach(), share)

    def _step(self, name: str, processes: Processes, warmup: bool = True, annealing: float = 1.0) -> None:
        """Clip, set the rate, step; a gradient that is not finite is dropped and counted."""
        optimizer = self._optimizers[name]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        processes.sum_gradients(parameters)
        norm = float(clip_gradients(parameters, self._config.max_grad_norm, processes.sum))
        finite = math.isfinite(norm)
        self.metrics.add("grad_norm/skipped", 0.0 if finite else 1.0)
        if finite:
            self.metrics.add(f"grad_norm/{name}", norm)
            factor = self._decay * annealing
            if warmup and self._config.lr_warmup_steps:
                factor *= min(1.0, (self.steps + 1) / self._config.lr_warmup_steps)
            for group, rate in zip(optimizer.param_groups, self._learning_rates[name], strict=True):
                group["lr"] = rate * factor
            optimizer.step()
        if name == "actor":
            self.steps += 1
        optimizer.zero_grad(set_to_none=True)
