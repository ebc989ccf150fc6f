"""Settings of PI-RL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lerobot.configs.policies import PreTrainedConfig
from lerobot.rl.algorithms.configs import RLAlgorithmConfig

CHOICES = {
    "variant": ("flow_sde", "flow_noise"),
    "stochastic_steps": ("one", "last", "all"),
    "sampler": ("euler", "native"),
    "logprob_reduction": ("sum", "mean"),
    "ratio_level": ("chunk", "step"),
    "trainable": ("denoiser", "all"),
    "actor_optimizer": ("adamw", "muon"),
    "advantage": ("gae", "grpo", "action_value"),
    "objective": ("ppo", "preferred"),
    "critic_input": ("observation", "action_tokens", "scene"),
    "lr_schedule": ("constant", "linear", "cosine"),
}
AT_LEAST_ONE = (
    "episodes_per_update",
    "transitions_per_update",
    "epochs",
    "minibatch_size",
    "micro_batch_size",
    "denoising_steps",
    "executed_dims",
    "lr_decay_updates",
    "critic_pooling_queries",
    "critic_epochs",
    "imagined_decisions",
    "decision_memory",
    "guidance_decay_updates",
)
POSITIVE = (
    "noise_level",
    "noise_std_min",
    "noise_std_max",
    "actor_lr",
    "critic_lr",
    "clip",
    "value_clip",
    "huber_delta",
    "max_grad_norm",
    "gripper_temperature",
    "target_kl",
    "imagined_spread",
    "imagined_gripper_temperature",
    "preference_temperature",
)
NOT_NEGATIVE = (
    "critic_memory",
    "weight_decay",
    "entropy_coefficient",
    "bc_coefficient",
    "critic_warmup_epochs",
    "lr_warmup_steps",
    "max_policy_lag",
    "advantage_std_floor",
    "value_coefficient",
)
FRACTIONS = (
    "guidance",
    "imitation_focus",
    "noise_correlation",
    "gamma",
    "gae_lambda",
    "lr_final_fraction",
    "encoder_lr_scale",
)


@RLAlgorithmConfig.register_subclass("pi_rl")
@dataclass
class PiRLConfig(RLAlgorithmConfig):
    """PPO on a flow policy's denoising chain. See docs/algorithms/pi_rl.md for the equations.

    Defaults follow the reference's LIBERO runs where those make sense at small scale; the documentation lists
    every difference.
    """

    # --- exploration ---
    # `flow_sde`: the SDE with the ODE's marginals. `flow_noise`: the policy's own sampler plus learned noise.
    variant: str = "flow_sde"
    # Flow-SDE's eta, in units of normalised actions (reference: 0.5 at K = 4; 0.3 at K = 5).
    noise_level: float = 0.5
    # Bounds of Flow-Noise's std, in units of normalised actions (reference: 0.08-0.16).
    noise_std_min: float = 0.08
    noise_std_max: float = 0.16
    # Factor on the noise of each executed action dim (metres against radians); null: 1 everywhere. A dim
    # with 0 stays deterministic: fewer noisy dims, less noise in the gradient.
    noise_scale: list[float] | None = None
    # Correlation of the noise between neighbouring steps of a chunk. White noise moves an arm that follows
    # absolute poses hardly at all: the controller averages it away. The log-prob is that of correlated noise;
    # with 1 a chunk's steps share one draw, and its log-prob is that of the chunk's mean.
    noise_correlation: float = 0.0
    # Denoising steps that are stochastic and enter the log-prob: `one` drawn per decision, the `last`, or
    # `all`. null: one for flow_sde (the paper's hybrid), all for flow_noise.
    stochastic_steps: str | None = None
    # Mean of the deterministic steps: Euler's ODE, or XVLA's `native` re-mixing. null: euler for flow_sde,
    # the policy's own sampler for flow_noise.
    sampler: str | None = None
    # K; null: the policy's own, which is what stock evaluation uses.
    denoising_steps: int | None = None
    # Leading action dims the environment executes; null: the policy's action feature. XVLA's two-armed `ee6d`
    # needs 10 in LIBERO, or noise in the absent arm enters the ratio.
    executed_dims: int | None = None
    # Temperature of the Bernoulli gripper (policies with logit grippers): below 1 it flickers less.
    gripper_temperature: float = 1.0

    # --- returns ---
    # `gae` with a critic; `grpo`: returns compared within groups of episodes that share an initial state; or
    # `action_value`: a `scene` critic that sees actions too compares decisions drawn in each one's place.
    advantage: str = "gae"
    # Draws per decision of `action_value`, and how much wider they scatter than the exploration does.
    imagined_decisions: int = 16
    imagined_spread: float = 1.0
    # Temperature of what is imagined of a Bernoulli gripper: one draw for a chunk's steps, so that it closes
    # or opens earlier or later, weighted back to the policy's own probabilities. null: as the exploration.
    imagined_gripper_temperature: float | None = None
    # `ppo`, or with `action_value` also `preferred`: the policy's own flow-matching loss on the imagined
    # actions' means, weighted with softmax(Q / preference_temperature).
    objective: str = "ppo"
    preference_temperature: float = 0.02
    # With `preferred`, once the critic is fitted: share of the actors' episodes in which the mean of the
    # imagined is made in each decision's place, weighted with softmax(Q / preference_temperature). In the
    # others the policy goes where its own errors lead. Evaluation is never guided.
    guidance: float = 0.0
    # Updates over which `guidance` falls to 0, so that in the end the policy learns where it goes by itself
    # (Ross et al. 2011, DAgger); null: it stays.
    guidance_decay_updates: int | None = None
    # Latest updates whose decisions are imitated, as the critic sees them by then. Not in checkpoints: a
    # resumed run begins with its next update's.
    decision_memory: int = 1
    # Share of imitated decisions that are drawn in proportion to how far the critic tells apart what could
    # have been done there; the rest evenly. Most decisions decide little.
    imitation_focus: float = 0.0
    # Discount per decision, or per control step with `discount_per_step` (gamma^n for n executed steps).
    gamma: float = 0.99
    discount_per_step: bool = False
    gae_lambda: float = 0.95
    # A time-out is no outcome: it bootstraps from V(s'). False counts it as failure (the reference does).
    bootstrap_timeouts: bool = True
    # Advantages are divided by at least this, so that noise in a batch without outcome is not blown up.
    advantage_std_floor: float = 0.01

    # --- PPO ---
    # Sum over stochastic steps is the exact joint; `mean` tempers the ratio by 1/K (the reference does that).
    logprob_reduction: str = "sum"
    # What one ratio covers: the whole chunk (the reference), or one action step of it (gentler clipping).
    ratio_level: str = "step"
    clip: float = 0.2
    # Bound on the loss of bad actions whose ratio has grown (dual clip); null: off.
    dual_clip: float | None = 3.0
    entropy_coefficient: float = 0.0
    # Epochs end early once the KL to the behaviour policy, in nats per decision, passes this; null: never.
    target_kl: float | None = 0.2
    epochs: int = 4
    # Decisions per optimizer step, and per forward pass (gradients accumulate; null: the whole minibatch).
    minibatch_size: int = 256
    micro_batch_size: int | None = None
    # Complete episodes per update; used unless `transitions_per_update` is given.
    episodes_per_update: int = 48
    transitions_per_update: int | None = None
    # Episodes collected more than this many updates ago are dropped; null: none are.
    max_policy_lag: int | None = 1

    # --- critic ---
    # Detached input: the encoded observation with proprioception, the denoiser's tokens at zero noise, or the
    # simulator's own `scene` (asymmetric actor-critic: the policy never sees it, and needs it nowhere else).
    critic_input: str = "observation"
    critic_hidden: int = 256
    critic_pooling_queries: int = 4
    value_coefficient: float = 1.0
    value_clip: float | None = 0.2
    huber_delta: float = 10.0
    # Latest updates whose decisions a `scene` critic is fitted to (their discounted returns, `critic_epochs`
    # times) before an update's advantages are estimated; 0: it learns from each update's own in PPO's epochs.
    critic_memory: int = 0
    critic_epochs: int = 4
    # Epochs of critic training on the first update's data before the policy moves; GAE is then recomputed.
    critic_warmup_epochs: int = 15

    # --- hybrid with demonstrations ---
    # Weight of the policy's own flow-matching loss on an offline batch; needs demonstrations and
    # online_ratio < 1.
    bc_coefficient: float = 0.0

    # --- optimisation ---
    # `denoiser`: the observation encoder stays frozen and its features are computed once per update. `all`:
    # it trains too, at `encoder_lr_scale` of the rate; the policy's own freeze settings still hold.
    trainable: str = "denoiser"
    # What a frozen encoder makes of an update's decisions is kept for its epochs; False encodes anew in every
    # minibatch, where it does not fit into memory (pi0: 25 MB per decision).
    cache_encoder: bool = True
    # `muon` (pirl/muon.py) learns more per step from imitation; it takes no sharded parameters.
    actor_optimizer: str = "adamw"
    # Reference at 3 B parameters: 5e-6 and 1e-4.
    actor_lr: float = 1e-5
    critic_lr: float = 1e-3
    encoder_lr_scale: float = 0.1
    # Embedding tables (XVLA's per-domain weights), biases and norms are never decayed.
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    lr_schedule: str = "constant"
    # Updates over which the rate falls to `lr_final_fraction` of itself (linear, cosine).
    lr_decay_updates: int | None = None
    lr_final_fraction: float = 0.1
    # Optimizer steps over which the rate rises from 0: Adam's first steps overshoot.
    lr_warmup_steps: int = 20
    # bfloat16 arithmetic in the encoder and in imitation, where the device has it; what log-probs are made of
    # stays float32.
    autocast: bool = False
    # Less memory for more arithmetic: the backward pass computes activations again, block by block in XVLA,
    # denoiser call by denoiser call elsewhere (which helps where several steps are stochastic).
    activation_checkpointing: bool = False

    policy_config: PreTrainedConfig | None = None

    # A run in progress cannot change these: its tensors or its behaviour policy depend on them.
    fixed_on_resume: ClassVar[tuple[str, ...]] = (
        "variant",
        "noise_correlation",
        "stochastic_steps",
        "denoising_steps",
        "executed_dims",
        "advantage",
        "trainable",
        "actor_optimizer",
        "critic_input",
        "critic_hidden",
        "critic_pooling_queries",
        "critic_memory",
    )

    @classmethod
    def from_policy_config(cls, policy_cfg: Any) -> PiRLConfig:
        """Default settings for a policy."""
        return cls(policy_config=policy_cfg)

    def __post_init__(self) -> None:
        if self.stochastic_steps is None:
            self.stochastic_steps = "one" if self.variant == "flow_sde" else "all"
        self._check_choices()
        self._check_ranges()
        if self.noise_std_min > self.noise_std_max:
            raise ValueError(
                f"algorithm.noise_std_min: {self.noise_std_min} exceeds noise_std_max ({self.noise_std_max})"
            )
        if self.variant == "flow_sde" and self.sampler == "native" and self.stochastic_steps != "last":
            raise ValueError(
                "algorithm.sampler: 'native' forgets the noise of earlier steps, so flow_sde cannot use it "
                f"with stochastic_steps={self.stochastic_steps!r}; use euler, or stochastic_steps=last"
            )
        if self.critic_input == "scene" and self.bootstrap_timeouts:
            raise ValueError(
                "algorithm.bootstrap_timeouts: critic_input='scene' knows how much time is left, "
                "so a time-out has no value to bootstrap from; set it to false"
            )
        if self.critic_memory and (self.critic_input != "scene" or self.advantage == "grpo"):
            raise ValueError(
                "algorithm.critic_memory: pictures are too large to keep; use critic_input=scene with "
                "advantage=gae, or critic_memory=0"
            )
        if self.advantage == "action_value":
            self._check_action_value()
        if self.objective == "preferred":
            self._check_preferred()
        elif self.guidance:
            raise ValueError(
                "algorithm.guidance: PPO learns from the policy's own decisions; use objective=preferred or 0"
            )
        elif self.imagined_spread != 1.0 or self.imagined_gripper_temperature is not None:
            raise ValueError(
                "algorithm.imagined_spread, imagined_gripper_temperature: PPO needs draws of the behaviour "
                "policy itself; use 1 and null"
            )
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise ValueError(
                f"algorithm.dual_clip: must exceed 1, got {self.dual_clip}; null switches it off"
            )
        if self.lr_schedule != "constant" and self.lr_decay_updates is None:
            raise ValueError(f"algorithm.lr_decay_updates: needed for lr_schedule={self.lr_schedule}")
        if self.entropy_coefficient and self.variant == "flow_sde":
            raise ValueError(
                "algorithm.entropy_coefficient: flow_sde's noise is fixed, its entropy has no gradient; use 0"
            )

    def _check_action_value(self) -> None:
        needed: dict[str, object] = {"critic_input": "scene", "stochastic_steps": "last"}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"algorithm.advantage: action_value needs {name}={value}, got {getattr(self, name)}"
                )
        if not self.critic_memory:
            raise ValueError(
                "algorithm.critic_memory: advantage=action_value fits its critic before it uses it; "
                "give at least 1"
            )

    def _check_preferred(self) -> None:
        if self.advantage != "action_value":
            raise ValueError(
                f"algorithm.objective: preferred needs advantage=action_value, got {self.advantage}"
            )
        if self.bc_coefficient or self.entropy_coefficient:
            raise ValueError(
                "algorithm.objective: preferred has no term for demonstrations or entropy; set "
                "bc_coefficient and entropy_coefficient to 0"
            )

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (name == "sampler" and value is None):
                raise ValueError(f"algorithm.{name}: {value!r} is not one of {', '.join(choices)}")

    def _check_ranges(self) -> None:
        rules = (
            (AT_LEAST_ONE, lambda v: v >= 1, "at least 1"),
            (POSITIVE, lambda v: v > 0, "above 0"),
            (NOT_NEGATIVE, lambda v: v >= 0, "at least 0"),
            (FRACTIONS, lambda v: 0 <= v <= 1, "between 0 and 1"),
        )
        for names, holds, wanted in rules:
            for name in names:
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise ValueError(f"algorithm.{name}: must be {wanted}, got {value}")
