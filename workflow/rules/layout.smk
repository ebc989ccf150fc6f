"""Names shared by all rules: the run, its folders, its recipes, and the code that each stage depends on."""

import os
from pathlib import Path

from pirl.experiment.recipes import demonstration_layout

CONFIG_FILE = Path(os.path.relpath(workflow.configfiles[-1]))
RUN = CONFIG_FILE.stem
RESULTS = f"results/{RUN}"
RUNS = f"runs/{RUN}"
DEMOS = f"data/demos/{RUN}"
FURTHER_SEEDS = range(config["seed"] + 1, config["seed"] + config["train"]["seeds"])
RECIPES = [
    training
    for recipe in config["train"]["recipes"]
    for training in (recipe, *(f"{recipe}/seed_{seed}" for seed in FURTHER_SEEDS))
]
POLICIES = ["replay", "warm_start", *RECIPES]
PROTOCOLS = ["smoke", "suites"]
if config["smoke_eval"]["wide_episodes_per_task"]:
    PROTOCOLS.append("smoke_wide")
if (
    config["smoke_eval"]["exact_episodes_per_task"]
    and config["simulation"]["eval_fidelity"] == "fast"
):
    PROTOCOLS.append("smoke_exact")
PRETRAINED = (
    [f"{RESULTS}/pretrain/policy"] if config["pretrain"]["scenes_per_task"] else []
)
SCRIPTS = "workflow/scripts"
# A stage that runs a policy asks for one GPU when the experiment puts any policy on one.
DEVICES = [
    config["policy"]["settings"].get("device"),
    config["train"]["policy"].get("device"),
    config["train"]["sac"]["policy"].get("device"),
]
GPUS = int(any(str(device).startswith("cuda") for device in DEVICES))


def code(*packages):
    """Source files of `pirl` packages, so that a change there re-runs the stages that import them."""
    return sorted(
        str(path)
        for package in ("experiment", "tracking", "files.py", *packages)
        for path in (
            [Path("pirl", package)]
            if package.endswith(".py")
            else Path("pirl", package).rglob("*.py")
        )
    )


wildcard_constraints:
    recipe="|".join(RECIPES),
    policy="|".join(POLICIES),
    protocol="|".join(PROTOCOLS),
