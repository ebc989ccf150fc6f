"""SmolVLA: a SmolVLM prefix with proprioception in it, and a cross-attending action expert."""

from __future__ import annotations

from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor, nn
from transformers import DynamicCache

from pirl.policies.flow_policy import Context
from pirl.policies.prefix_policy import PrefixFlow, modules_of

DENOISER = ("action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out")


class SmolVLAFlow(PrefixFlow):
    """Proprioception enters the prefix, so its projection counts as encoder."""

    policy_type = "smolvla"
    policy: SmolVLAPolicy

    def __init__(self, policy: SmolVLAPolicy, executed_dims: int | None = None) -> None:
        if policy.config.adapt_to_pi_aloha:
            raise ValueError(
                "policy.adapt_to_pi_aloha: rewrites states and actions in place; set it to false"
            )
        # LeRobot builds parts of SmolVLA in bfloat16 and offers no setting for it.
        policy.float()
        super().__init__(policy, executed_dims)

    @property
    def observation_dim(self) -> tuple[int, int]:
        width = self.policy.model.vlm_with_expert.config.text_config.hidden_size
        return int(width), int(self.policy.config.max_state_dim)

    @property
    def denoising_steps(self) -> int:
        return int(self.policy.config.num_steps)

    def encoder(self) -> list[nn.Module]:
        return [self.policy.model.vlm_with_expert.vlm.model, self.policy.model.state_proj]

    def denoiser(self) -> list[nn.Module]:
        model = self.policy.model
        return [model.vlm_with_expert.lm_expert, *modules_of(model, DENOISER)]

    def _embed_prefix(self, batch: dict[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, masks = self.policy.prepare_images(batch)
        tokens = batch[OBS_LANGUAGE_TOKENS]
        return self.policy.model.embed_prefix(
            images, masks, tokens, batch[OBS_LANGUAGE_ATTENTION_MASK], state=state
        )

    def _run_prefix(
        self, embeddings: Tensor, attention: Tensor, positions: Tensor
    ) -> tuple[Tensor, DynamicCache]:
        (output, _), cache = self.policy.model.vlm_with_expert.forward(
            attention_mask=attention,
            position_ids=positions,
            past_key_values=None,
            inputs_embeds=[embeddings, None],
            use_cache=True,
        )
        return output, cache

    def _denoise_step(self, context: Context, x: Tensor, t: Tensor) -> Tensor:
        return self.policy.model.denoise_step(
            prefix_pad_masks=context["pad_mask"], past_key_values=self._cache(context), x_t=x, timestep=t
        )
