"""Tiny random policies of every supported type, on CPU, made from LeRobot's own classes."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from tests.policies.tiny_gemma.sizes import tiny

SMOLVLM = Path(__file__).parents[2] / "configs" / "tiny" / "smolvlm"
CAMERAS = ("observation.images.image", "observation.images.image2")
FLORENCE = {
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "vision_config": {
        "embed_dim": [8, 16],
        "depths": [1, 1],
        "num_heads": [2, 2],
        "num_groups": [2, 2],
        "patch_size": [7, 3],
        "patch_stride": [4, 2],
        "patch_padding": [3, 1],
        "patch_prenorm": [False, True],
        "window_size": 4,
        "drop_path_rate": 0.1,
        "projection_dim": 24,
    },
    "text_config": {
        "vocab_size": 64,
        "d_model": 24,
        "encoder_layers": 1,
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_layers": 1,
        "decoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
        "max_position_embeddings": 64,
        "dropout": 0.1,
    },
}
IDENTITY = {name: NormalizationMode.IDENTITY for name in ("VISUAL", "STATE", "ACTION")}


def features(state: int, action: int, image: int = 32) -> dict:
    """Input and output features of a policy with two cameras."""
    return {
        "input_features": {
            **{camera: PolicyFeature(FeatureType.VISUAL, (3, image, image)) for camera in CAMERAS},
            "observation.state": PolicyFeature(FeatureType.STATE, (state,)),
        },
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (action,))},
        "device": "cpu",
        "push_to_hub": False,
    }


def make_xvla(action_mode: str = "auto", **settings) -> PreTrainedPolicy:
    """XVLA with dropout and drop-path configured, 20 model dims."""
    from lerobot.policies.xvla.configuration_xvla import XVLAConfig
    from lerobot.policies.xvla.modeling_xvla import XVLAPolicy

    action = {"auto": 10, "ee6d": 20, "joint": 14}[action_mode]
    defaults = dict(
        chunk_size=6,
        n_action_steps=4,
        num_denoising_steps=4,
        hidden_size=32,
        depth=2,
        num_heads=2,
        num_domains=2,
        len_soft_prompts=2,
        max_len_seq=128,
        tokenizer_max_length=8,
        max_state_dim=20,
        florence_config=FLORENCE,
        action_mode=action_mode,
        normalization_mapping=IDENTITY,
        **features(state=20, action=action),
    )
    policy = XVLAPolicy(XVLAConfig(**(defaults | settings)))
    with torch.no_grad():  # LeRobot's fresh action decoder is small; a policy's output has unit scale
        policy.model.transformer.action_decoder.fc.weight.mul_(4)
    return policy


def make_smolvla() -> PreTrainedPolicy:
    """SmolVLA around the shipped tiny VLM."""
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

    config = SmolVLAConfig(
        chunk_size=6,
        n_action_steps=4,
        num_steps=4,
        vlm_model_name=str(SMOLVLM),
        num_vlm_layers=2,
        resize_imgs_with_padding=(64, 64),
        max_state_dim=8,
        max_action_dim=12,
        expert_width_multiplier=0.5,
        normalization_mapping=IDENTITY,
        load_vlm_weights=False,
        **features(state=8, action=7),
    )
    return SmolVLAPolicy(config)


def make_pi(policy_type: str) -> PreTrainedPolicy:
    """pi0 or pi0.5; the tiny sizes are put in while it is built."""
    if policy_type == "pi0":
        from lerobot.policies.pi0 import modeling_pi0 as module
        from lerobot.policies.pi0.configuration_pi0 import PI0Config as Config
        from lerobot.policies.pi0.modeling_pi0 import PI0Policy as Policy
    else:
        from lerobot.policies.pi05 import modeling_pi05 as module
        from lerobot.policies.pi05.configuration_pi05 import PI05Config as Config
        from lerobot.policies.pi05.modeling_pi05 import PI05Policy as Policy

    config = Config(
        chunk_size=6,
        n_action_steps=4,
        num_inference_steps=4,
        max_state_dim=8,
        max_action_dim=12,
        image_resolution=(32, 32),
        normalization_mapping=IDENTITY,
        **features(state=8, action=7),
    )
    with mock.patch.multiple(module, **tiny(module)):
        policy = Policy(config)
    with torch.no_grad():  # pi0.5's adaptive norms start at zero: no gradient; a trained policy's do not
        for name, parameter in policy.named_parameters():
            if "norm.dense" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def make_policy(policy_type: str) -> PreTrainedPolicy:
    """A tiny random policy."""
    if policy_type == "smolvla":
        return make_smolvla()
    return make_xvla() if policy_type == "xvla" else make_pi(policy_type)


def make_observation(policy: PreTrainedPolicy, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random preprocessed inputs of a policy, as an actor passes them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = policy.config.input_features
    observation = {name: torch.rand(batch, *f.shape, generator=generator) for name, f in inputs.items()}
    observation["observation.language.tokens"] = torch.randint(5, 40, (batch, 8), generator=generator)
    mask = torch.ones(batch, 8, dtype=torch.bool)
    mask[:, 6:] = False
    observation["observation.language.attention_mask"] = mask
    if policy.config.type == "xvla":
        observation["domain_id"] = torch.randint(policy.config.num_domains, (batch,), generator=generator)
    return observation


def save_xvla(folder: Path) -> Path:
    """A tiny XVLA as a folder that `policy.path` names, exported as the stages do it."""
    from lerobot.envs.configs import LiberoEnv

    from pirl.policies.export import export_policy
    from pirl.policies.processing import PolicyProcessing
    from pirl.policies.tokenizer import TOKENIZER_DIR

    text = FLORENCE["text_config"] | {"vocab_size": 256}
    policy = make_xvla(tokenizer_name=str(TOKENIZER_DIR), florence_config=FLORENCE | {"text_config": text})
    policy.save_pretrained(folder / "raw")
    processing = PolicyProcessing(policy.config, LiberoEnv())
    processing.preprocessor.save_pretrained(folder / "raw")
    processing.postprocessor.save_pretrained(folder / "raw")
    return export_policy(folder / "raw", folder / "policy")
