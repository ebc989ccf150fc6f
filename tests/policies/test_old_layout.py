"""XVLA checkpoints from before transformers had Florence-2: other names of weights, another configuration."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from safetensors.torch import load_file, save_file

from pirl.evaluation.policy import load_policy
from pirl.policies.export import export_policy
from pirl.policies.registry import make_flow_policy
from tests.policies.tiny import make_observation, save_xvla

BLOCK = r"(vision_tower\.blocks\.\d+\.\d+\.\w+_block\.)"
# Names in transformers' Florence-2 -> in Microsoft's remote code, which the first XVLA checkpoints carry.
OLD_NAMES = (
    (r"(vision_tower\.convs\.\d+\.)conv\.", r"\1proj."),
    (BLOCK + r"(conv[12])\.", r"\1\2.fn.dw."),
    (BLOCK + r"(\w+_attn)\.", r"\1\2.fn."),
    (BLOCK + r"ffn\.", r"\1ffn.fn.net."),
    (r"(spatial_block\.)norm1\.", r"\1window_attn.norm."),
    (r"(channel_block\.)norm1\.", r"\1channel_attn.norm."),
    (r"(_block\.)norm2\.", r"\1ffn.norm."),
    (r"multi_modal_projector\.image_position_embed\.", "image_pos_embed."),
    (r"multi_modal_projector\.(image_proj_norm|visual_temporal_embed)\.", r"\1."),
    (r"vlm\.language_model\.", "vlm.language_model.model."),
)


def old_name(name: str) -> str:
    """The weight's name in the old layout."""
    for pattern, replacement in OLD_NAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count and "vlm." in name:
            return renamed
    return name


def write_old_layout(source: Path, destination: Path) -> Path:
    """Copy a policy folder, its weights and Florence configuration as in the first XVLA checkpoints."""
    shutil.copytree(source, destination)
    weights = load_file(source / "model.safetensors")
    projection = weights.pop("model.vlm.multi_modal_projector.image_projection.weight")
    old = {old_name(name): tensor for name, tensor in weights.items()}
    old["model.vlm.image_projection"] = projection.T.contiguous()
    old["model.vlm.language_model.final_logits_bias"] = torch.zeros(1, 8)
    save_file(old, destination / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    vision = config["florence_config"]["vision_config"]
    vision["model_type"] = "davit"
    vision["dim_embed"] = vision.pop("embed_dim")
    vision["image_pos_embed"] = {"type": "learned_abs_2d", "max_pos_embeddings": 50}
    vision["visual_temporal_embedding"] = {"type": "COSINE", "max_temporal_embeddings": 100}
    vision["image_feature_source"] = ["spatial_avg_pool", "temporal_avg_pool"]
    config["florence_config"]["text_config"]["model_type"] = "florence2_language"
    (destination / "config.json").write_text(json.dumps(config))
    return destination


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("old")
    native = save_xvla(folder / "native")
    return native, export_policy(write_old_layout(native, folder / "old"), folder / "policy")


def test_the_old_names_are_not_those_of_the_model(folders):
    native, old = (load_file(folder / "model.safetensors") for folder in folders)
    kept = {name for name in native if ".vlm." in name} & old.keys()
    assert all(re.search(r"vision_tower\.convs\.\d+\.norm\.", name) for name in kept)


def test_an_old_checkpoint_acts_like_the_same_one_in_the_new_layout(folders):
    loaded = [load_policy(folder, {}) for folder in folders]
    chunks = []
    for policy in loaded:
        torch.manual_seed(0)
        chunks.append(policy.policy.predict_action_chunk(make_observation(policy.policy, 2)))
    assert torch.equal(*chunks)


def test_what_is_trained_from_an_old_checkpoint_is_saved_in_the_new_layout(folders, tmp_path):
    policy = XVLAPolicy.from_pretrained(folders[1])
    make_flow_policy(policy)
    policy.save_pretrained(tmp_path)
    native, saved = (load_file(folder / "model.safetensors") for folder in (folders[0], tmp_path))
    assert native.keys() == saved.keys()
    assert all(native[name].equal(saved[name]) for name in native)
