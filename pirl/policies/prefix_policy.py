"""What SmolVLA, pi0 and pi0.5 share: a VLM prefix whose keys and values an action expert attends to."""

from __future__ import annotations

import abc
from typing import Any

import torch
from lerobot.policies.common.vla_utils import make_att_2d_masks, pad_vector
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor, nn
from transformers import DynamicCache

from pirl.flow.chain import Output
from pirl.policies.flow_policy import Context, FlowPolicy, integer_ids


class PrefixFlow(FlowPolicy):
    """A velocity policy: the VLM runs once and leaves a cache of keys and values, the expert denoises.

    The context holds the cache as plain tensors (`key_i`, `value_i` per layer), so that rows can be selected.
    """

    prediction = "velocity"

    @property
    def model_dims(self) -> int:
        return int(self.policy.config.max_action_dim)

    @property
    def token_dim(self) -> int:
        return int(self.policy.model.action_out_proj.in_features)

    def blocks(self) -> list[nn.Module]:
        """Every linear layer: SmolVLA calls no block as a whole, and a prefix block caches its keys."""
        modules = [module for part in (*self.encoder(), *self.denoiser()) for module in part.modules()]
        return [module for module in modules if type(module) is nn.Linear]  # others are parts of attention

    def encode(self, observation: dict[str, Tensor]) -> Context:
        batch = {
            **observation,
            OBS_LANGUAGE_TOKENS: integer_ids(observation[OBS_LANGUAGE_TOKENS]),
            OBS_LANGUAGE_ATTENTION_MASK: observation[OBS_LANGUAGE_ATTENTION_MASK] > 0.5,
        }
        state = self._state(batch)
        embeddings, pad_mask, attention = self._embed_prefix(batch, state)
        positions = torch.cumsum(pad_mask, dim=1) - 1
        output, cache = self._run_prefix(embeddings, make_att_2d_masks(pad_mask, attention), positions)
        context = {"prefix": output * pad_mask[..., None], "pad_mask": pad_mask, "state": state}
        layers: list[Any] = cache.layers
        for index, layer in enumerate(layers):
            context[f"key_{index}"], context[f"value_{index}"] = layer.keys, layer.values
        return context

    def denoise(self, context: Context, x: Tensor, t: Tensor) -> Output:
        captured: list[Tensor] = []
        handle = self.policy.model.action_out_proj.register_forward_pre_hook(
            lambda _module, inputs: captured.append(inputs[0])
        )
        try:
            velocity = self._denoise_step(context, x, t)
        finally:
            handle.remove()
        return Output(velocity.float(), captured[0])

    def critic_inputs(self, context: Context) -> tuple[Tensor, Tensor]:
        return context["prefix"], context["state"]

    def imitation_loss(self, context: Context, actions: Tensor) -> Tensor:
        """Mean squared velocity error at times drawn as in the policy's own training."""
        batch, steps, dims = actions.shape
        padded = torch.zeros(batch, self.horizon, self.model_dims, device=actions.device)
        padded[:, :steps] = pad_vector(actions, self.model_dims)
        noise = torch.randn_like(padded)
        t = self.policy.model.sample_time(batch, actions.device)
        noisy = t.view(-1, 1, 1) * noise + (1 - t).view(-1, 1, 1) * padded
        error = self.denoise(context, noisy, t).prediction - (noise - padded)
        return error[:, :steps, :dims].square().mean()

    def _state(self, batch: dict[str, Tensor]) -> Tensor:
        """Proprioception padded as the policy pads it, [B, P]."""
        state = batch[OBS_STATE]
        return pad_vector(state[:, -1] if state.ndim > 2 else state, self.policy.config.max_state_dim)

    @abc.abstractmethod
    def _embed_prefix(self, batch: dict[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [B, L, W], padding mask [B, L] and attention mask [B, L] of the prefix."""

    @abc.abstractmethod
    def _run_prefix(
        self, embeddings: Tensor, attention: Tensor, positions: Tensor
    ) -> tuple[Tensor, DynamicCache]:
        """VLM over the prefix: last hidden states [B, L, W] and its cache."""

    @abc.abstractmethod
    def _denoise_step(self, context: Context, x: Tensor, t: Tensor) -> Tensor:
        """The policy's own denoising step, velocity [B, C, D]."""

    def _cache(self, context: Context) -> DynamicCache:
        """A fresh cache around the context's tensors; what is appended to it does not reach them."""
        cache = DynamicCache()
        layers = sum(name.startswith("key_") for name in context)
        for index in range(layers):
            cache.update(context[f"key_{index}"], context[f"value_{index}"], index)
        return cache


def modules_of(model: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """Submodules by attribute name."""
    return [getattr(model, name) for name in names]
