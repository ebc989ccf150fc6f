"""LoRA and other PEFT adapters as LeRobot uses them: `--peft.*` makes one, `policy.use_peft` tells of one.

A folder with an adapter names its base policy and holds no other weights. An adapter's layers are put into
the policy's own modules, so a policy with one is trained and asked as before.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lerobot.configs import PeftConfig
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from peft import PeftConfig as AdapterConfig
from peft import PeftModel

from pirl.policies.loading import load_pretrained


def load_policy(
    config: PreTrainedConfig, folder: str | Path, adapter: PeftConfig | None = None
) -> PreTrainedPolicy | PeftModel:
    """Load a policy, with the adapter that the folder holds or else with a new one if asked for.

    Args:
        config: the folder's configuration, with overrides.
        folder: a policy's or an adapter's folder, or their hub id.
        adapter: LeRobot's settings of a new adapter; its targets may be left to the policy's own defaults.

    Raises:
        ValueError: when the policy has no default targets, or the adapter names no base policy.
        WeightsNotLoaded: when the policy was left with random weights.
    """
    if config.use_peft:
        settings = AdapterConfig.from_pretrained(str(folder))
        if not settings.base_model_name_or_path:
            raise ValueError(f"policy.path: the adapter in {folder} names no base policy; train it from one")
        base = load_pretrained(config, settings.base_model_name_or_path)
        return PeftModel.from_pretrained(base, str(folder), config=settings, is_trainable=True)
    policy = load_pretrained(config, folder)
    return policy if adapter is None else policy.wrap_with_peft(peft_cli_overrides=asdict(adapter))


def bare(policy: PreTrainedPolicy | PeftModel) -> PreTrainedPolicy:
    """The policy itself; its modules hold the adapter's layers if there is one."""
    return policy.get_base_model() if isinstance(policy, PeftModel) else policy


def merged(policy: PreTrainedPolicy | PeftModel) -> PreTrainedPolicy:
    """The policy with its adapter, if any, added to the weights it adapts."""
    if isinstance(policy, PeftModel):
        policy = policy.merge_and_unload()
        policy.config.use_peft = False
    return policy
