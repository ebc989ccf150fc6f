"""XVLA: predicts the action itself; its own sampler re-mixes the first noise."""

from __future__ import annotations

import torch
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from lerobot.utils.constants import OBS_LANGUAGE_TOKENS
from torch import Tensor, nn

from pirl.flow.chain import Output
from pirl.policies.capture import captured_output
from pirl.policies.flow_policy import Context, FlowPolicy, integer_ids, recomputing

# Action spaces whose gripper channels are zeroed on input and trained as logits (BCE).
LOGIT_GRIPPER_MODES = ("ee6d", "joint")
FLOW_MODES = ("auto", "agibot_ee6d", "franka_joint7")


class XVLAFlow(FlowPolicy):
    """Florence-2 encodes the observation; the soft-prompted transformer denoises."""

    policy_type = "xvla"
    prediction = "action"
    has_native_sampler = True
    policy: XVLAPolicy

    def __init__(self, policy: XVLAPolicy, executed_dims: int | None = None) -> None:
        mode = policy.config.action_mode.lower()
        if mode not in (*LOGIT_GRIPPER_MODES, *FLOW_MODES):
            raise ValueError(
                f"policy.action_mode: {mode!r} trains its gripper by MSE but squashes it afterwards, "
                f"so it has no log-prob; use one of {', '.join((*FLOW_MODES, *LOGIT_GRIPPER_MODES))}"
            )
        super().__init__(policy, executed_dims)
        self._spaces = policy.model.action_space

    @property
    def model_dims(self) -> int:
        return int(self.policy.model.dim_action)

    @property
    def token_dim(self) -> int:
        return int(self.policy.model.transformer.hidden_size)

    @property
    def observation_dim(self) -> tuple[int, int]:
        projection = self.policy.config.get_florence_config().vision_config.projection_dim
        return int(projection), int(self.policy.model.dim_proprio)

    @property
    def denoising_steps(self) -> int:
        return int(self.policy.config.num_denoising_steps)

    @property
    def binary_dims(self) -> tuple[int, ...]:
        if self.policy.config.action_mode.lower() not in LOGIT_GRIPPER_MODES:
            return ()
        return tuple(d for d in self.policy.model.action_space.gripper_idx if d < self.executed_dims)

    def encoder(self) -> list[nn.Module]:
        return [self.policy.model.vlm]

    def denoiser(self) -> list[nn.Module]:
        return [self.policy.model.transformer]

    def blocks(self) -> list[nn.Module]:
        vlm = self.policy.model.vlm
        vision = [block for stage in vlm.vision_tower.blocks for block in stage]
        return [*self.policy.model.transformer.blocks, *vlm.language_model.encoder.layers, *vision]

    def encode(self, observation: dict[str, Tensor]) -> Context:
        batch = {**observation, OBS_LANGUAGE_TOKENS: integer_ids(observation[OBS_LANGUAGE_TOKENS])}
        inputs = self.policy._build_model_inputs(batch)
        features = self.policy.model.forward_vlm(
            inputs["input_ids"], inputs["image_input"], inputs["image_mask"]
        )
        return {**features, "domain_id": inputs["domain_id"], "proprio": inputs["proprio"]}

    def denoise(self, context: Context, x: Tensor, t: Tensor) -> Output:
        transformer = self.policy.model.transformer
        proprio, noisy = self._spaces.preprocess(context["proprio"], x)
        with captured_output(transformer.norm) as tokens:
            prediction = transformer(
                domain_id=context["domain_id"],
                action_with_noise=noisy,
                proprio=proprio,
                t=t,
                vlm_features=context["vlm_features"],
                aux_visual_inputs=context["aux_visual_inputs"],
            )
        return Output(prediction.float(), tokens[0])

    def recompute_activations(self) -> None:
        """Block by block, in the denoiser and in Florence-2's language encoder."""
        language = self.policy.model.vlm.language_model.encoder
        for block in (*self.policy.model.transformer.blocks, *language.layers):
            block.forward = recomputing(block.forward)

    def critic_inputs(self, context: Context) -> tuple[Tensor, Tensor]:
        return torch.cat([context["vlm_features"], context["aux_visual_inputs"]], dim=1), context["proprio"]

    def imitation_loss(self, context: Context, actions: Tensor) -> Tensor:
        """XVLA's training loss: time stratified over the batch, its action space's own weights per dim."""
        batch, steps = actions.shape[:2]
        target = self.policy._prepare_action_targets({"action": actions})
        t = (torch.rand(1, device=actions.device) + torch.arange(batch, device=actions.device) / batch) % (
            1 - 1e-5
        )
        noisy = torch.randn_like(target) * t.view(-1, 1, 1) + target * (1 - t).view(-1, 1, 1)
        prediction = self.denoise(context, noisy, t).prediction
        losses = self._spaces.compute_loss(prediction[:, :steps], target[:, :steps])
        return torch.stack(list(losses.values())).sum()

    def finish(self, final: Tensor, outcomes: Tensor | None = None) -> Tensor:
        # LeRobot's postprocess works in place: the stored chain must not feel it.
        actions = self._spaces.postprocess(final.clone())[:, : self.executed_steps]
        if outcomes is not None:
            actions[..., list(self.binary_dims)] = outcomes
        return actions
