"""The contract between PI-RL and a flow policy of LeRobot.

Legend: B batch, C steps of the predicted chunk, H executed steps, D action dims of the model, F features
of an action token, T tokens of the observation, P proprioception, G discrete gripper dims.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from functools import partial

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pirl.flow.chain import Output
from pirl.flow.kernels import Prediction

Context = dict[str, Tensor]
"""An encoded observation: tensors with leading dimension B, so that rows can be cached and selected."""


class FlowPolicy(abc.ABC):
    """Adapter of one policy type: calls LeRobot's modules and changes nothing in them.

    The observation is encoded once; the denoiser then takes as many steps as the sampler wants. All of it
    runs in `eval()`: dropout would make two log-probs of the same chain differ.
    """

    policy_type: str
    prediction: Prediction
    has_native_sampler = False

    def __init__(self, policy: PreTrainedPolicy, executed_dims: int | None = None) -> None:
        """Wrap a policy.

        Args:
            policy: LeRobot policy of type `policy_type`.
            executed_dims: leading action dims the environment executes; None: the policy's action feature.

        Raises:
            ValueError: when the policy's settings cannot be trained by PI-RL; names setting and remedy.
        """
        self.policy = policy
        action = policy.config.action_feature
        if action is None:
            raise ValueError(
                f"{self.policy_type}: policy.output_features lacks 'action'; load a trained policy"
            )
        real_dims = int(action.shape[-1])
        self.executed_dims = real_dims if executed_dims is None else executed_dims
        if not 1 <= self.executed_dims <= real_dims:
            raise ValueError(
                f"executed_dims: {executed_dims} is not within the policy's action dims; use 1..{real_dims}"
            )
        self.horizon = int(policy.config.chunk_size)
        self.executed_steps = int(policy.config.n_action_steps)
        self._check_precision()
        self.eval()

    @property
    @abc.abstractmethod
    def model_dims(self) -> int:
        """D, width of the noisy action the denoiser takes."""

    @property
    @abc.abstractmethod
    def token_dim(self) -> int:
        """F, width of `Output.tokens`."""

    @property
    @abc.abstractmethod
    def observation_dim(self) -> tuple[int, int]:
        """Widths of the observation's tokens and of its proprioception, as `critic_inputs` returns them."""

    @property
    @abc.abstractmethod
    def denoising_steps(self) -> int:
        """K of the policy's own sampler."""

    @property
    def binary_dims(self) -> tuple[int, ...]:
        """Executed dims the network returns as logits of a discrete gripper, not as flow dims."""
        return ()

    @abc.abstractmethod
    def encoder(self) -> list[nn.Module]:
        """The modules that see only the observation; frozen, they run once per observation and update."""

    @abc.abstractmethod
    def denoiser(self) -> list[nn.Module]:
        """The modules that run at every denoising step."""

    @abc.abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The repeated modules that hold most of the parameters, for sharding.

        Each is called as a module and hands on what it computes by its result alone, not by a cache.
        """

    @abc.abstractmethod
    def encode(self, observation: dict[str, Tensor]) -> Context:
        """Encode preprocessed policy inputs.

        Args:
            observation: the policy's inputs, [B, ...]; ids may come as float32 from the replay buffer.
        """

    @abc.abstractmethod
    def denoise(self, context: Context, x: Tensor, t: Tensor) -> Output:
        """One denoiser call.

        Args:
            context: what `encode` returned.
            x: noisy action, float32 [B, C, D].
            t: flow time, float32 [B].
        """

    @abc.abstractmethod
    def critic_inputs(self, context: Context) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, F_obs] and proprioception [B, P] (P may be 0) of an encoded observation."""

    @abc.abstractmethod
    def imitation_loss(self, context: Context, actions: Tensor) -> Tensor:
        """The policy's own flow-matching loss, averaged over the batch, on executed steps.

        Args:
            context: encoded observations.
            actions: demonstrated actions in policy space, [B, H, D_real].
        """

    def finish(self, final: Tensor, outcomes: Tensor | None = None) -> Tensor:
        """From a chain's last state to what the policy's postprocessor takes, [B, H, D_real].

        Args:
            final: last state, [B, C, D]; left as it is.
            outcomes: sampled gripper states 0/1, [B, H, G]; None leaves the policy's own rule.
        """
        real = int(self.policy.config.action_feature.shape[-1])
        return final[:, : self.executed_steps, :real].clone()

    def counted(self, device: torch.device | str = "cpu") -> Tensor:
        """Entries of the chunk that are executed and are flow dims, bool [C, D]."""
        mask = torch.zeros(self.horizon, self.model_dims, dtype=torch.bool, device=device)
        dims = [d for d in range(self.executed_dims) if d not in self.binary_dims]
        mask[: self.executed_steps, dims] = True
        return mask

    def recompute_activations(self) -> None:
        """Keep only the inputs of each denoiser call for the backward pass, which computes the rest again."""
        self.denoise = recomputing(self.denoise)  # type: ignore[method-assign]

    def select_trainable(self, *, encoder: bool) -> None:
        """Leave only the denoiser, and on request the encoder, to training.

        What neither uses (language heads) is frozen; what the policy's own settings froze stays frozen.
        """
        modules = self.denoiser() + (self.encoder() if encoder else [])
        chosen = {id(p) for module in modules for p in module.parameters()}
        for parameter in self.policy.parameters():
            if id(parameter) not in chosen:
                parameter.requires_grad_(False)

    @property
    def encoder_is_frozen(self) -> bool:
        """True when no encoder parameter trains, so that encoded observations can be cached."""
        return not any(p.requires_grad for module in self.encoder() for p in module.parameters())

    def trainable_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters of the policy that train, each once."""
        return ((name, p) for name, p in self.policy.named_parameters() if p.requires_grad)

    def _check_precision(self) -> None:
        dtype = getattr(self.policy.config, "dtype", "float32")
        if dtype != "float32":
            raise ValueError(
                f"policy.dtype: {dtype!r} rounds actions near 0.5 by 2e-3, too coarse for log-probs; "
                "use float32, and algorithm.autocast=true for bfloat16 arithmetic in the encoder"
            )

    def eval(self) -> None:
        """Switch dropout off; called before every log-prob."""
        self.policy.eval()


def recomputing(forward: Callable) -> Callable:
    """Activation checkpointing of a function that draws no random numbers."""
    return partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)


def integer_ids(tensor: Tensor) -> Tensor:
    """Undo the replay buffer's float32: ids as int64."""
    return tensor.round().to(torch.int64)
