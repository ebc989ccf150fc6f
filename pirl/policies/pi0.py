"""pi0 and pi0.5: a PaliGemma prefix and a Gemma action expert."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.policies.common.vla_utils import prepare_attention_masks_4d
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor, nn
from transformers import DynamicCache

from pirl.policies.flow_policy import Context
from pirl.policies.prefix_policy import PrefixFlow, modules_of


class PI0Flow(PrefixFlow):
    """Proprioception is a token of the expert's suffix, next to the noisy actions."""

    policy_type = "pi0"
    heads: tuple[str, ...] = (
        "state_proj",
        "action_in_proj",
        "action_out_proj",
        "action_time_mlp_in",
        "action_time_mlp_out",
    )
    policy: Any  # PI0Policy or PI05Policy

    def __init__(self, policy: PreTrainedPolicy, executed_dims: int | None = None) -> None:
        super().__init__(policy, executed_dims)
        # As LeRobot's own sampler sets it: the masks passed here are for eager attention.
        networks = self.policy.model.paligemma_with_expert
        networks.paligemma.model.language_model.config._attn_implementation = "eager"

    @property
    def observation_dim(self) -> tuple[int, int]:
        language = self.policy.model.paligemma_with_expert.paligemma.model.language_model
        return int(language.config.hidden_size), int(self.policy.config.max_state_dim)

    @property
    def denoising_steps(self) -> int:
        return int(self.policy.config.num_inference_steps)

    def encoder(self) -> list[nn.Module]:
        return [self.policy.model.paligemma_with_expert.paligemma.model]

    def denoiser(self) -> list[nn.Module]:
        model = self.policy.model
        return [model.paligemma_with_expert.gemma_expert.model, *modules_of(model, self.heads)]

    def _embed_prefix(self, batch: dict[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, masks = self.policy._preprocess_images(batch)
        return self.policy.model.embed_prefix(
            images, masks, batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        )

    def _run_prefix(
        self, embeddings: Tensor, attention: Tensor, positions: Tensor
    ) -> tuple[Tensor, DynamicCache]:
        (output, _), cache = self.policy.model.paligemma_with_expert.forward(
            attention_mask=prepare_attention_masks_4d(attention),
            position_ids=positions,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        return output, cache

    def _denoise_step(self, context: Context, x: Tensor, t: Tensor) -> Tensor:
        return self.policy.model.denoise_step(
            state=context["state"],
            prefix_pad_masks=context["pad_mask"],
            past_key_values=self._cache(context),
            x_t=x,
            timestep=t,
        )


class PI05Flow(PI0Flow):
    """Proprioception is part of the language prompt; the flow time conditions the expert's norms."""

    policy_type = "pi05"
    heads = ("action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out")

    def _state(self, batch: dict[str, Tensor]) -> Tensor:
        # The policy reads it from the prompt; only the critic uses this copy, where there is one.
        if OBS_STATE in batch:
            return super()._state(batch)
        tokens = batch[OBS_LANGUAGE_TOKENS]
        return torch.zeros(len(tokens), self.policy.config.max_state_dim, device=tokens.device)

    def _denoise_step(self, context: Context, x: Tensor, t: Tensor) -> Tensor:
        return self.policy.model.denoise_step(
            prefix_pad_masks=context["pad_mask"], past_key_values=self._cache(context), x_t=x, timestep=t
        )
