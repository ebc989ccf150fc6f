"""A flow policy made stochastic: draws decisions, and gives the log-prob of stored ones."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from pirl.algorithms.pi_rl.configuration import PiRLConfig
from pirl.algorithms.pi_rl.networks import NoiseNetwork
from pirl.flow.chain import (
    Kernel,
    Output,
    Reduction,
    Step,
    StochasticSteps,
    chain_log_prob,
    chain_step,
    draw_stochastic_steps,
    sample_chain,
)
from pirl.flow.correlation import correlate
from pirl.flow.density import (
    bernoulli_entropy,
    bernoulli_log_prob,
    gaussian_entropy,
    gaussian_log_prob,
    logistic_log_prob,
)
from pirl.flow.kernels import euler_mean, flow_sde, native_mean, time_grid
from pirl.policies.flow_policy import Context, FlowPolicy, integer_ids
from pirl.precision import autocast


class Evaluation(NamedTuple):
    """Stored decisions under the present policy."""

    log_prob: Tensor  # per executed action step, summed over counted dims, [B, H]
    entropy: Tensor  # nats per counted entry, [B]
    gripper_entropy: Tensor  # nats per gripper entry, [B]; 0 without a discrete gripper


class StochasticPolicy:
    """Chooses the kernels a configuration asks for, and runs `pirl.flow`'s chain with a policy's denoiser.

    Attributes:
        noise: Flow-Noise's network, None for Flow-SDE.
    """

    def __init__(self, flow: FlowPolicy, config: PiRLConfig, device: torch.device) -> None:
        """Prepare grid, mask and kernels.

        Raises:
            ValueError: when the configuration does not fit the policy.
        """
        self.flow = flow
        self.config = config
        self.device = device
        self._which = cast(StochasticSteps, config.stochastic_steps)
        self._reduction = cast(Reduction, config.logprob_reduction)
        self.steps = config.denoising_steps or flow.denoising_steps
        self.times = time_grid(self.steps, device=device)
        self._scale = self._noise_scale()
        self.counted = flow.counted(device) & (self._scale > 0)
        self._deterministic = self._deterministic_kernel()
        self.noise: NoiseNetwork | None = None
        if config.variant == "flow_noise":
            scale = torch.where(self._scale > 0, self._scale, torch.ones_like(self._scale))
            lowest, highest = config.noise_std_min * scale, config.noise_std_max * scale
            self.noise = NoiseNetwork(flow.token_dim, flow.model_dims, lowest, highest).to(device)

    def encode(self, observation: dict[str, Tensor]) -> Context:
        """Encode observations on the policy's device; floats come out as float32."""
        moved = {key: value.to(self.device) for key, value in observation.items()}
        with autocast(self.device, self.config.autocast):
            context = self.flow.encode(moved)
        return {key: value.float() if value.is_floating_point() else value for key, value in context.items()}

    @torch.no_grad()
    def decide(self, context: Context, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Draw decisions.

        Returns:
            Actions for the policy's postprocessor [B, H, D_real], and what `evaluate` needs to recompute
            their log-prob: `chain` [B, K+1, C, D], `stochastic_step` [B], `log_prob` [B, H], with a discrete
            gripper also `gripper` [B, H, G]; float32.
        """
        noise = torch.randn(batch, self.flow.horizon, self.flow.model_dims, device=self.device)
        steps = draw_stochastic_steps(self._which, batch, self.steps, self.device)
        chain = sample_chain(
            lambda x, t: self.flow.denoise(context, x, t),
            noise,
            self.times,
            self._deterministic,
            self._stochastic,
            steps,
            self.counted,
            self._reduction,
            self.config.noise_correlation,
        )
        log_prob = chain.log_prob[:, : self.flow.executed_steps]
        stored = {"chain": chain.states, "stochastic_step": steps.float()}
        if self.flow.binary_dims:
            logits, temperature = self._logits(chain.last), self.config.gripper_temperature
            stored["gripper"] = torch.bernoulli(torch.sigmoid(logits / temperature))
            log_prob = log_prob + bernoulli_log_prob(stored["gripper"], logits, temperature).sum(-1)
        stored["log_prob"] = log_prob
        return self.flow.finish(chain.states[:, -1], stored.get("gripper")), stored

    def evaluate(self, context: Context, stored: dict[str, Tensor]) -> Evaluation:
        """Log-prob and entropy of stored decisions; gradients flow to the policy and the noise network.

        Args:
            context: encoded observations of the same decisions.
            stored: what `decide` returned for them, on the policy's device.
        """
        states, executed_steps = stored["chain"], self.flow.executed_steps

        def denoise(x: Tensor, t: Tensor) -> Output:
            return self.flow.denoise(context, x, t)

        result = chain_log_prob(
            denoise,
            states,
            self.times,
            self._stochastic,
            integer_ids(stored["stochastic_step"]),
            self.counted,
            self._reduction,
            self.config.noise_correlation,
        )
        log_prob = result.log_prob[:, :executed_steps]
        entropy = result.entropy[:, :executed_steps].sum(-1) / self._entropy_entries()
        if not self.flow.binary_dims:
            return Evaluation(log_prob, entropy, torch.zeros_like(entropy))
        last = result.last or denoise(states[:, -2], self.times[-2].expand(len(states)))
        return self._with_gripper(log_prob, entropy, self._logits(last), stored["gripper"])

    def _with_gripper(
        self, log_prob: Tensor, entropy: Tensor, logits: Tensor, outcomes: Tensor
    ) -> Evaluation:
        """Add the discrete gripper's outcomes [B * M, H, G], M for the logits of each decision."""
        temperature = self.config.gripper_temperature
        each = _repeat(logits, len(outcomes) // len(logits))
        log_prob = log_prob + bernoulli_log_prob(outcomes, each, temperature).sum(-1)
        return Evaluation(log_prob, entropy, bernoulli_entropy(logits, temperature).mean((-1, -2)))

    def ending(self, context: Context, stored: dict[str, Tensor]) -> Step:
        """The last step of stored chains, the only one with noise, as a Gaussian: what could have been done.

        Args:
            context: encoded observations of the stored decisions.
            stored: what `decide` returned for them.
        """
        chain = stored["chain"]
        return chain_step(
            lambda x, t: self.flow.denoise(context, x, t),
            chain,
            self.times,
            self._stochastic,
            torch.full((len(chain),), self.steps - 1, device=chain.device),
            self.counted,
        )

    @torch.no_grad()
    def imagine(
        self, ending: Step, stored: dict[str, Tensor], noise: Tensor, uniform: Tensor
    ) -> dict[str, Tensor]:
        """Other decisions that the policy could have made.

        Args:
            ending: of the stored decisions.
            stored: what `decide` returned for them.
            noise: unit Gaussian, M draws per decision, [B, M, C, D].
            uniform: in [0, 1), decides the discrete gripper's draws, [B, M, H, G].

        Returns:
            `ending` [B, M, C, D], with a discrete gripper `gripper` [B, M, H, G].
        """
        mean, std = ending.mean[:, None], ending.std[:, None]
        correlated = correlate(noise.flatten(0, 1), self.config.noise_correlation).view_as(noise)
        drawn = torch.where(std > 0, mean + std * correlated, stored["chain"][:, None, -1])
        imagined = {"ending": drawn}
        if self.flow.binary_dims:
            logits = self._logits(ending.output)[:, None]
            if self.config.imagined_gripper_temperature is None:
                closed = uniform < torch.sigmoid(logits / self.config.gripper_temperature)
            else:
                closed = self._threshold(uniform) < logits
            imagined["gripper"] = closed.float()
        return imagined

    def log_weight(self, uniform: Tensor) -> Tensor:
        """How much likelier the gripper of imagined decisions is than it was drawn, log, [B, M].

        Args:
            uniform: what `imagine` was given, [B, M, H, G].
        """
        wide = self.config.imagined_gripper_temperature
        if wide is None:
            return uniform.new_zeros(uniform.shape[:2])
        threshold = self._threshold(uniform)
        return (logistic_log_prob(threshold, 1.0) - logistic_log_prob(threshold, wide)).sum((-1, -2))

    def _threshold(self, uniform: Tensor) -> Tensor:
        """The logit from which on a chunk's gripper closes, one for all of its steps, [B, M, 1, G]."""
        wide = self.config.imagined_gripper_temperature
        assert wide is not None
        return wide * torch.logit(uniform[:, :, :1], eps=1e-6)

    def evaluate_imagined(self, ending: Step, imagined: dict[str, Tensor]) -> Evaluation:
        """Log-prob of imagined decisions, [B * M, H]; entropies as in `evaluate`."""
        count = imagined["ending"].shape[1]
        mean, std = (_repeat(entries, count) for entries in (ending.mean, ending.std))
        drawn, correlation = imagined["ending"].flatten(0, 1), self.config.noise_correlation
        executed = self.flow.executed_steps
        log_prob = gaussian_log_prob(drawn, mean, std, correlation).sum(-1)[:, :executed]
        entropy = gaussian_entropy(ending.std, correlation).sum(-1)[:, :executed].sum(-1)
        entropy = entropy / self._entropy_entries()
        if not self.flow.binary_dims:
            return Evaluation(log_prob, entropy, torch.zeros_like(entropy))
        outcomes = imagined["gripper"].flatten(0, 1)
        return self._with_gripper(log_prob, entropy, self._logits(ending.output), outcomes)

    def finish_imagined(self, imagined: dict[str, Tensor]) -> Tensor:
        """What the policy's postprocessor takes of imagined decisions, [B, M, H, D_real]."""
        outcomes = imagined["gripper"].flatten(0, 1) if "gripper" in imagined else None
        finished = self.flow.finish(imagined["ending"].flatten(0, 1), outcomes)
        return finished.unflatten(0, imagined["ending"].shape[:2])

    def _entropy_entries(self) -> int:
        joint = self.config.stochastic_steps == "all" and self.config.logprob_reduction == "sum"
        drawn = self.counted[:1] if self.config.noise_correlation == 1 else self.counted
        return int(drawn.sum()) * (self.steps if joint else 1)

    def _logits(self, last: Output) -> Tensor:
        """Gripper logits of the last denoiser call, float32 [B, H, G]."""
        return last.prediction[:, : self.flow.executed_steps, list(self.flow.binary_dims)].float()

    def _noise_scale(self) -> Tensor:
        """Factor on the noise per model dim, [D]."""
        scale = torch.ones(self.flow.model_dims, device=self.device)
        given = self.config.noise_scale
        if given is not None:
            if len(given) != self.flow.executed_dims or min(given) < 0 or max(given) == 0:
                raise ValueError(
                    f"algorithm.noise_scale: needs {self.flow.executed_dims} factors, one per executed "
                    f"action dim, none negative and not all 0, got {given}"
                )
            scale[: len(given)] = torch.tensor(given, device=self.device)
        return scale

    def _deterministic_kernel(self) -> Kernel:
        sampler = self.config.sampler
        if sampler is None:
            native = self.config.variant == "flow_noise" and self.flow.has_native_sampler
            sampler = "native" if native else "euler"
        if sampler == "native":
            if not self.flow.has_native_sampler:
                raise ValueError(
                    f"algorithm.sampler: {self.flow.policy_type} samples with Euler steps; use sampler=euler"
                )
            return lambda x, first, output, t, t_next: (native_mean(first, output.prediction, t_next), _NONE)
        kind = self.flow.prediction
        return lambda x, first, output, t, t_next: (euler_mean(x, output.prediction, t, t_next, kind), _NONE)

    def _stochastic(
        self, x: Tensor, first: Tensor, output: Output, t: Tensor, t_next: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.noise is not None:
            return self._deterministic(x, first, output, t, t_next)[0], self.noise(output.tokens)
        level = self.config.noise_level * self._scale
        return flow_sde(x, output.prediction, t, t_next, self.flow.prediction, level)


_NONE = torch.zeros(())


def _repeat(entries: Tensor, count: int) -> Tensor:
    """Each row `count` times in a row, [B, ...] -> [B * count, ...]."""
    return entries.repeat_interleave(count, dim=0)
