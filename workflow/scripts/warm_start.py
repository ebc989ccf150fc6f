"""Stage warm_start: behaviour cloning of the demonstrations with stock `lerobot-train`.

python workflow/scripts/warm_start.py --config configs/smoke.yaml --dataset data/demos/smoke/xvla
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv

from pirl.experiment.cloning import clone, policy_settings
from pirl.experiment.recipes import WARM_START, environment_settings, policy_type
from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically
from pirl.policies.export import export_policy
from pirl.policies.fit import check_fit
from pirl.policies.processing import PolicyProcessing


def locate(path: str) -> Path:
    """The folder of a policy: a local one, or the hub's copy of that id.

    Raises:
        FileNotFoundError: when there is neither.
    """
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"policy.path: {path} is no folder, and the hub does not give it: {error}"
        ) from error


def check(experiment: dict[str, Any], policy: Path) -> None:
    """Refuse a policy that is not what the experiment says, or that its simulator does not suit.

    Raises:
        ValueError: naming the key.
    """
    config, expected = PreTrainedConfig.from_pretrained(policy), policy_type(experiment)
    if config.type != expected:
        raise ValueError(
            f"policy.settings.type: {expected}, but policy.path holds a policy of type {config.type}"
        )
    environment = environment_settings(experiment, expected)
    del environment["type"]
    libero = LiberoEnv(**environment)
    processing = PolicyProcessing(config, libero, pretrained_path=policy)
    check_fit(config, processing, libero, experiment["simulation"]["chunk_size"])


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="demonstrations in the policy's layout")
    parser.add_argument(
        "--pretrained", type=Path, default=None, help="policy to start from; default: policy.path"
    )
    parser.add_argument("--work-dir", type=Path, default=None, help="lerobot-train's output folder")
    arguments = parser.parse_args(args)
    with stage(WARM_START, arguments, WARM_START) as run:
        experiment, results = run.experiment, run.results
        if arguments.pretrained is not None:
            experiment = {**experiment, "policy": {**experiment["policy"], "path": str(arguments.pretrained)}}
        if experiment["warm_start"]["steps"] == 0:
            if experiment["policy"]["path"] is None:
                raise ValueError(
                    "warm_start.steps is 0 and policy.path is null: there is no policy to start from"
                )
            source = locate(experiment["policy"]["path"])
            overrides = [f"--{key}={value}" for key, value in policy_settings(experiment).items()]
        else:
            work_dir = arguments.work_dir or Path("runs") / experiment["run"] / WARM_START
            source, overrides = clone(experiment, arguments.dataset, work_dir), []
        check(experiment, export_policy(source, results / WARM_START / "policy", overrides))
        write_json_atomically(
            results / WARM_START / "selected.json",
            {"selected_checkpoint": "last", "rule": "the only candidate", "candidates": []},
        )


if __name__ == "__main__":
    main()
