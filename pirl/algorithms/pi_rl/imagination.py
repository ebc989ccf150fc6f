"""Decisions that were not made: what the behaviour policy could have done in each decision's place.

An action-value critic credits them all, so an episode's one outcome need not decide about each of its noises:
the all-action policy gradient (Petit et al. 2019) with PPO's clip, estimated from draws.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pirl.algorithms.acting import SCENE_STATE
from pirl.algorithms.pi_rl.approach import APPROACH_DIM, approach
from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.pi_rl.stochastic_policy import Evaluation

Commands = Callable[[Tensor], Tensor]
"""Policy-space actions [B, H, D] to LIBERO's own absolute ones, [B, H, 7]."""


class Imagination:
    """M draws in the place of each of N decisions.

    Attributes:
        taken: critic's inputs of the decisions that were made, [N, I].
        inputs: of the imagined ones, [N, M, I].
        old_log_prob: under the behaviour policy, [N, M, H].
        executed: all steps count, bool [N, M, H].
    """

    def __init__(self, batch: UpdateBatch, commands: Commands, draws: int) -> None:
        """Draw.

        Args:
            batch: the decisions that were made.
            commands: the policy's postprocessor.
            draws: M.
        """
        self._batch = batch
        scenes, horizon = batch.info[SCENE_STATE], batch.executed.shape[1]
        made = batch.raw["action"].to(batch.device).reshape(batch.size, horizon, -1)
        seen = approach(scenes, commands(made).to(batch.device))
        self.taken = torch.cat([scenes, seen], dim=-1)
        self.executed = torch.ones(batch.size, draws, horizon, dtype=torch.bool, device=batch.device)
        log_prob = torch.zeros(batch.size, draws, horizon, device=batch.device)
        seen = torch.zeros(batch.size, draws, APPROACH_DIM, device=batch.device)
        flow = batch.policy.flow
        noise = torch.randn(batch.size, draws, flow.horizon, flow.model_dims, device=batch.device)
        uniform = torch.rand(batch.size, draws, horizon, len(flow.binary_dims), device=batch.device)
        batch.processes.align([noise, uniform])
        everywhere = {"ending": torch.zeros_like(noise)}
        if flow.binary_dims:
            everywhere["gripper"] = torch.zeros_like(uniform)
        for rows, share in batch.passes(torch.arange(batch.size, device=batch.device)):
            context, stored = batch.context(rows), batch.stored(rows)
            drawn, behaviour = batch.policy.imagine(context, stored, noise[rows], uniform[rows])
            if not share:
                continue
            for key, entries in drawn.items():
                everywhere[key][rows] = entries
            log_prob[rows] = behaviour
            actions = batch.policy.finish_imagined(drawn)
            libero = commands(actions.flatten(0, 1)).to(batch.device).unflatten(0, (-1, draws))
            seen[rows] = approach(scenes[rows][:, None].expand(-1, draws, -1), libero)
        # All of it in every process: what only keeps step is not always a process's own.
        self._drawn = {key: batch.processes.sum(entries) for key, entries in everywhere.items()}
        self.old_log_prob = batch.processes.sum(log_prob)
        seen = batch.processes.sum(seen)
        self.inputs = torch.cat([scenes[:, None].expand(-1, draws, -1), seen], dim=-1)

    def evaluate(self, rows: Tensor) -> Evaluation:
        """Imagined decisions of some places under the present policy, log-prob [B * M, H]."""
        drawn = {key: entries[rows] for key, entries in self._drawn.items()}
        return self._batch.policy.evaluate_imagined(
            self._batch.context(rows), self._batch.stored(rows), drawn
        )

    @torch.no_grad()
    def advantages(self, critic: nn.Module) -> Tensor:
        """Q(s, a) against the mean of what could have been done there, [N, M]."""
        values = critic(self.inputs)
        return values - values.mean(dim=1, keepdim=True)
