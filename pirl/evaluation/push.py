"""Uploads a selected policy to the Hugging Face hub; shows what it would send unless told to.

`pirl-push --policy results/default/pi_rl_flow_sde/policy --repo me/my-policy [--upload] [--private]`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from pirl.evaluation.model_card import CARD_FILE

REQUIRED = ("config.json", "model.safetensors", "policy_preprocessor.json", CARD_FILE)
SENT = ("*.json", "*.safetensors", "*.md", "tokenizer/*")


class PushError(ValueError):
    """The folder or the repository's name cannot be pushed."""


def files_to_push(folder: Path) -> list[Path]:
    """The files of a policy folder that are uploaded, and nothing else that may lie there.

    Raises:
        PushError: naming what is missing.
    """
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise PushError(
            f"--policy: {folder} lacks {', '.join(missing)}; give a folder written by the select stage"
        )
    return sorted({path for pattern in SENT for path in folder.glob(pattern) if path.is_file()})


def push(folder: Path, repo: str, *, private: bool) -> str:
    """Create the repository if need be and upload; returns its address."""
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    names = [path.relative_to(folder).as_posix() for path in files_to_push(folder)]
    api.upload_folder(
        repo_id=repo, folder_path=folder, allow_patterns=names, commit_message="Upload policy with pirl-push"
    )
    return f"https://huggingface.co/{repo}"


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-push`."""
    parser = argparse.ArgumentParser(prog="pirl-push", description=__doc__.splitlines()[0])
    parser.add_argument("--policy", type=Path, required=True, help="folder of a selected policy")
    parser.add_argument("--repo", required=True, help="user/name on the hub")
    parser.add_argument("--upload", action="store_true", help="really upload (needs `hf auth login`)")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parsed = parser.parse_args(args)
    try:
        validate_repo_id(parsed.repo)
        files = files_to_push(parsed.policy)
        for path in files:
            print(f"{path.stat().st_size:>12,}  {path.relative_to(parsed.policy)}")
        if parsed.upload:
            print(push(parsed.policy, parsed.repo, private=parsed.private))
        else:
            print(f"nothing was sent to {parsed.repo}; add --upload to send these {len(files)} files")
    except (PushError, HFValidationError, HfHubHTTPError, OSError) as error:
        sys.exit(f"pirl-push: {error}")


if __name__ == "__main__":
    main()
