"""Decisions that were not made: what the behaviour policy could have done in each decision's place.

An action-value critic judges them all, so an episode's one outcome need not decide about each of its noises.
PPO raises the log-prob of those it likes: the all-action policy gradient (Petit et al. 2019), estimated from
draws. Or the policy imitates what it prefers among them (Mark et al. 2024, policy-agnostic RL), and may be
guided by it while it explores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pirl.algorithms.acting import SCENE_STATE
from pirl.algorithms.pi_rl.approach import APPROACH_DIM, approach
from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.optimizers import annealed
from pirl.algorithms.pi_rl.stochastic_policy import Evaluation, StochasticPolicy
from pirl.envs.scene_state import SCENE_DIM
from pirl.flow.chain import Step
from pirl.policies.flow_policy import Context, FlowPolicy

Commands = Callable[[Tensor], Tensor]
"""Policy-space actions [B, H, D] to LIBERO's own absolute ones, [B, H, 7]."""


class Draws(NamedTuple):
    """What was imagined in the place of some decisions."""

    rows: Tensor  # which decisions, [B]
    ending: Step  # of the decisions that were made; what was drawn from
    drawn: dict[str, Tensor]  # what their log-prob needs, [B, M, ...]
    actions: Tensor  # in policy space, [B, M, H, D]
    inputs: Tensor  # the critic's, [B, M, I]
    log_weight: Tensor  # how much likelier the policy makes them than they were drawn, [B, M]


def made_inputs(batch: UpdateBatch, commands: Commands) -> Tensor:
    """The critic's inputs of the decisions that were made, [N, I]."""
    return _judged(batch.info[SCENE_STATE], _made(batch), commands)


@torch.no_grad()
def imagine(batch: UpdateBatch, commands: Commands) -> Iterator[Draws]:
    """Draw `imagined_decisions` in each decision's place, those of this process pass by pass."""
    config, flow, policy = batch.config, batch.policy.flow, batch.policy
    noise, uniform = _opposites(batch.size, config.imagined_decisions, flow, batch.device)
    batch.processes.align([noise, uniform])
    scenes = batch.info[SCENE_STATE][:, None].expand(-1, config.imagined_decisions, -1)
    for rows, share in batch.passes(torch.arange(batch.size, device=batch.device)):
        context, stored = batch.context(rows), batch.stored(rows)
        spread = config.imagined_spread * noise[rows]
        ending = policy.ending(context, stored)
        drawn = policy.imagine(ending, stored, spread, uniform[rows])
        if not share:
            continue
        actions = policy.finish_imagined(drawn)
        inputs = _judged(scenes[rows], actions, commands)
        yield Draws(rows, ending, drawn, actions, inputs, policy.log_weight(uniform[rows]))


class Imagination:
    """M draws in the place of each of N decisions, for PPO.

    Attributes:
        inputs: the critic's, [N, M, I].
        old_log_prob: under the behaviour policy, [N, M, H].
        executed: all steps count, bool [N, M, H].
    """

    @torch.no_grad()
    def __init__(self, batch: UpdateBatch, commands: Commands) -> None:
        """Draw.

        Args:
            batch: the decisions that were made.
            commands: the policy's postprocessor.
        """
        self._batch = batch
        flow, shape = batch.policy.flow, (batch.size, batch.config.imagined_decisions)
        steps = (*shape, flow.executed_steps)
        self.executed = torch.ones(steps, dtype=torch.bool, device=batch.device)
        log_prob = torch.zeros(steps, device=batch.device)
        inputs = torch.zeros(*shape, SCENE_DIM + APPROACH_DIM, device=batch.device)
        everywhere = {"ending": torch.zeros(*shape, flow.horizon, flow.model_dims, device=batch.device)}
        if flow.binary_dims:
            everywhere["gripper"] = torch.zeros(*steps, len(flow.binary_dims), device=batch.device)
        for draws in imagine(batch, commands):
            for key, entries in draws.drawn.items():
                everywhere[key][draws.rows] = entries
            evaluation = batch.policy.evaluate_imagined(draws.ending, draws.drawn)
            log_prob[draws.rows] = evaluation.log_prob.unflatten(0, draws.inputs.shape[:2])
            inputs[draws.rows] = draws.inputs
        # All of it in every process: what only keeps step is not always a process's own.
        self._drawn = {key: batch.processes.sum(entries) for key, entries in everywhere.items()}
        self.old_log_prob = batch.processes.sum(log_prob)
        self.inputs = batch.processes.sum(inputs)

    def evaluate(self, rows: Tensor) -> Evaluation:
        """Imagined decisions of some places under the present policy, log-prob [B * M, H]."""
        drawn = {key: entries[rows] for key, entries in self._drawn.items()}
        policy = self._batch.policy
        ending = policy.ending(self._batch.context(rows), self._batch.stored(rows))
        return policy.evaluate_imagined(ending, drawn)

    @torch.no_grad()
    def advantages(self, critic: nn.Module) -> Tensor:
        """Q(s, a) against the mean of what could have been done there, [N, M]."""
        return _advantages(critic(self.inputs))


@torch.no_grad()
def preferred_actions(batch: UpdateBatch, commands: Commands, critic: nn.Module) -> tuple[Tensor, Tensor]:
    """Means of imagined actions, weighted with softmax(Q / `preference_temperature`).

    Returns:
        Actions in policy space [N, H, D]; advantages of what was imagined [N, M].
    """
    actions = torch.zeros_like(_made(batch))
    advantages = torch.zeros(batch.size, batch.config.imagined_decisions, device=batch.device)
    for draws in imagine(batch, commands):
        values = critic(draws.inputs)
        weights = _preference(values, draws.log_weight, batch.config)
        actions[draws.rows] = torch.einsum("bm,bmhd->bhd", weights, draws.actions)
        advantages[draws.rows] = _advantages(values)
    return batch.processes.sum(actions), batch.processes.sum(advantages)


def guided_share(config: PiRLConfig, policy_version: int) -> float:
    """Share of episodes that the critic leads after so many updates: none before it is fitted."""
    if policy_version == 0:
        return 0.0
    if config.guidance_decay_updates is None:
        return config.guidance
    return config.guidance * annealed(policy_version / config.guidance_decay_updates, "linear", 0.0)


@torch.no_grad()
def guide(
    policy: StochasticPolicy,
    context: Context,
    action: Tensor,
    stored: dict[str, Tensor],
    scenes: Tensor,
    commands: Commands,
    critic: nn.Module,
    led: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Replace some decisions by what the critic prefers to them.

    That is the mean of imagined ones, weighted with softmax(Q / temperature): where Q is flat, one draw would
    be mere noise. A discrete gripper's outcomes are drawn with the same weights.

    Args:
        policy: whose settings say how many are imagined and how far they scatter.
        context: encoded observations.
        action: what `decide` returned for them.
        stored: likewise.
        scenes: the simulator's own view of each, [B, S].
        commands: the policy's postprocessor.
        critic: Q(s, a).
        led: which, bool [B].

    Returns:
        Actions [B, H, D_real] and what tells their log-prob, as from `decide`.
    """
    config, flow, device = policy.config, policy.flow, policy.device
    rows = led.to(device).nonzero()[:, 0]
    noise, uniform = _opposites(len(rows), config.imagined_decisions, flow, device)
    made = {key: entries[rows] for key, entries in stored.items()}
    ending = policy.ending({key: entries[rows] for key, entries in context.items()}, made)
    drawn = policy.imagine(ending, made, config.imagined_spread * noise, uniform)
    seen = scenes.to(device)[rows][:, None].expand(-1, config.imagined_decisions, -1)
    values = critic(_judged(seen, policy.finish_imagined(drawn), commands))
    preference = _preference(values, policy.log_weight(uniform), config)
    liked = {"ending": torch.einsum("bm,bmcd->bcd", preference, drawn["ending"])[:, None]}
    if flow.binary_dims:
        one = torch.multinomial(preference, 1)[:, 0]
        liked["gripper"] = drawn["gripper"][torch.arange(len(rows), device=device), one][:, None]
    better = made | {key: entries[:, 0] for key, entries in liked.items() if key != "ending"}
    better["chain"] = torch.cat([made["chain"][:, :-1], liked["ending"]], dim=1)
    better["log_prob"] = policy.evaluate_imagined(ending, liked).log_prob
    kept = {key: entries.index_copy(0, rows, better[key]) for key, entries in stored.items()}
    return action.index_copy(0, rows, policy.finish_imagined(liked)[:, 0]), kept


def _opposites(batch: int, count: int, flow: FlowPolicy, device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise [B, M, C, D] and uniform numbers [B, M, H, G], each beside its opposite (antithetic variates).

    Where a critic tells nothing apart, the mean of what is imagined is then what it scatters around.
    """
    half = (count + 1) // 2
    noise = torch.randn(batch, half, flow.horizon, flow.model_dims, device=device)
    uniform = torch.rand(batch, half, flow.executed_steps, len(flow.binary_dims), device=device)
    return torch.cat([noise, -noise], dim=1)[:, :count], torch.cat([uniform, 1 - uniform], dim=1)[:, :count]


def _judged(scenes: Tensor, actions: Tensor, commands: Commands) -> Tensor:
    """The critic's inputs [..., I] of scene states [..., S] and actions in policy space [..., H, D]."""
    libero = commands(actions.flatten(0, -3)).to(scenes.device).unflatten(0, actions.shape[:-2])
    return torch.cat([scenes, approach(scenes, libero)], dim=-1)


def _preference(values: Tensor, log_weight: Tensor, config: PiRLConfig) -> Tensor:
    """Weights of what was imagined in each decision's place, [B, M], by its Q."""
    return torch.softmax(values / config.preference_temperature + log_weight, dim=1)


def _advantages(values: Tensor) -> Tensor:
    return values - values.mean(dim=1, keepdim=True)


def _made(batch: UpdateBatch) -> Tensor:
    """Actions that were made, [N, H, D]."""
    steps = batch.policy.flow.executed_steps
    return batch.raw["action"].to(batch.device).reshape(batch.size, steps, -1)
