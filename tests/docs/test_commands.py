"""Every command of README.md and docs/ is run here, or by a named test, or marked with what it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import draccus
import pytest
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import LiberoEnv
from lerobot.policies import get_policy_class

from pirl.experiment.config import load_experiment
from pirl.experiment.recipes import run_settings
from pirl.policies.export import export_policy
from pirl.policies.processing import PolicyProcessing
from pirl.policies.tokenizer import TOKENIZER_DIR
from pirl.runtime.certificates import make_certificates
from pirl.runtime.configuration import ConfigError, parse_config
from tests.docs.documents import ROOT, Quoted, commands
from tests.docs.settings import lerobot_keys, run_keys

BIN = Path(sys.executable).parent
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
MODULES = {name: target.split(":")[0] for name, target in SCRIPTS.items()}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TAKES_RUN_CONFIG = {"pirl.runtime.learner", "pirl.runtime.actor", "pirl.runtime.supervisor"}
# What the shell does itself; test_names.py looks at the files.
SHELL = {"cd", "cp", "export", "mkdir", "source"}
PULL = "workflow/test_pull.py::test_pulled_artefacts_are_the_pushed_ones_and_leave_nothing_to_do"
REPRO = "workflow/test_repro.py"
# Commands that a test of tests/ runs.
TESTED = {
    "git clone|dvc pull|dvc push": PULL,
    "dvc (exp run|metrics diff|plots)": f"{REPRO}::test_an_experiment_trains_anew_and_is_compared_by_recipe",
    "dvc metrics show": f"{REPRO}::test_metrics_stand_side_by_side",
    "pirl.doctor": "test_doctor.py::test_all_checks_pass_here_and_are_written",
    "pirl.demonstrations.cli": "demonstrations/test_cli.py::test_records_the_asked_episodes",
    "pirl.evaluation.push": "evaluation/test_push.py::test_only_the_policys_own_files_are_sent",
    "pirl.runtime.certificates": "runtime/test_tls.py::test_private_keys_are_private_and_never_overwritten",
    "pirl.tracking.sending": "tracking/test_tracker.py::test_a_sweep_sends_what_earlier_runs_kept",
    "pirl.stock lerobot-eval": "docs/test_commands.py::test_stock_lerobot_eval_runs_as_documented",
}
COMMANDS = {command.text: command for command in commands()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with what documented commands name: run files, a policy, certificates."""
    folder = tmp_path_factory.mktemp("documented")
    experiment = load_experiment(ROOT / "configs" / "smoke.yaml")
    policy = save_policy(experiment, folder)
    make_certificates(folder / "certs", ["learner.example"])
    for recipe in experiment["train"]["recipes"]:
        settings = run_settings(
            experiment, recipe, warm_start=policy, demonstrations=folder, output_dir=folder / recipe
        )
        path = folder / "runs" / "smoke" / recipe / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    (folder / "run.json").write_text((folder / "runs/smoke/pi_rl_flow_sde/run.json").read_text())
    return folder


def save_policy(experiment: dict[str, Any], folder: Path) -> Path:
    """The experiment's policy with random weights, as its select stage writes it."""
    settings = experiment["policy"]["settings"] | {
        "tokenizer_name": str(TOKENIZER_DIR),
        "push_to_hub": False,
        "output_features": {"action": {"type": "ACTION", "shape": [10]}},
    }
    config = draccus.decode(PreTrainedConfig, settings)
    processing = PolicyProcessing(config, LiberoEnv())
    for part in (get_policy_class(config.type)(config), processing.preprocessor, processing.postprocessor):
        part.save_pretrained(folder / "raw")
    return export_policy(folder / "raw", folder / "policy")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_documented_command(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", sys.argv[:1])  # parse_config rewrites it
    check(command)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("make nonsense", "nonsense"),
        ("snakemake --configfile configs/smoke.yaml --cores 1 nonsense", "nonsense"),
        ("pirl-train --config_path run.json --algorithm.nonsense=1", "nonsense"),
        ("pirl-push --nonsense", "nonsense"),
        ("python -m pirl.stock lerobot-eval --eval.nonsense=1", "nonsense"),
        ("nonsense --help", "place:1: nothing runs"),
    ],
)
def test_a_wrong_command_is_found(text, complaint, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    with pytest.raises((AssertionError, SystemExit, ConfigError)) as caught:
        check(Quoted(text, "place:1"))
    assert complaint in f"{caught.value}{capsys.readouterr().err}"


@pytest.mark.parametrize("test", sorted(set(TESTED.values())))
def test_the_named_tests_exist(test):
    path, name = test.split("::")
    assert re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stock_lerobot_eval_runs_as_documented(folder):
    """The README's command on a short episode, with random weights."""
    (command,) = (text for text in COMMANDS if text.startswith("python -m pirl.stock lerobot-eval"))
    replaced = [f"--policy.path={folder / 'policy'}", "--env.episode_length=16"]
    words = [word for word in Quoted(command, "").words if not word.startswith("--policy.path")]
    run([sys.executable, *words[1:], *replaced], folder)
    assert list(folder.rglob("eval_info.json"))


def check(command: Quoted) -> None:
    """Run a command as far as it is cheap, or know who does.

    Raises:
        AssertionError: when it is wrong or nobody runs it.
    """
    program, *arguments = canonical(command.words)
    flags = [word.split("=")[0].removeprefix("--") for word in arguments if word.startswith("--")]
    if program == "pirl.stock":
        assert not set(flags) - lerobot_keys(), f"{command}: unknown {set(flags) - lerobot_keys()}"
    elif program in TAKES_RUN_CONFIG and not command.needs:
        parse_config(arguments)
    elif program in TAKES_RUN_CONFIG:
        assert not set(flags) - run_keys() - {"config_path"}, f"{command}: unknown {set(flags) - run_keys()}"
    elif program == "make":
        unknown = {word for word in arguments if "=" not in word} - TARGETS
        assert not unknown, f"{command}: no target {unknown} in the Makefile"
    elif program.startswith("pirl."):
        unknown = {flag for flag in flags if not takes(program, flag)}
        assert not unknown, f"{command}: {program} takes no {unknown}"
    if command.needs or program in SHELL | TAKES_RUN_CONFIG:
        return
    if program == "make":
        run(["make", "--dry-run", "UV=uv", "PYTHON=python", *arguments], ROOT)  # spares the look-up
    elif program == "snakemake":
        run([str(BIN / "snakemake"), *arguments, "--dry-run"], ROOT)
    elif program == "pirl.experiment":
        run([sys.executable, "-m", program, *arguments], ROOT)
    elif program == "dvc" and arguments == ["repro"]:
        run([str(BIN / "dvc"), "repro", "--dry", "demonstrations"], ROOT)
    else:
        whole = " ".join([program, *arguments])
        assert any(re.match(pattern, whole) for pattern in TESTED), (
            f"{command.place}: nothing runs `{command.text}`; name its test in TESTED of "
            f"{Path(__file__).name}, or say in the document what it needs: `# needs a GPU` "
            "(a block that is not shell is labelled, ```text)"
        )


def canonical(words: list[str]) -> list[str]:
    """`uv run pirl-demos` and `python -m pirl.demonstrations.cli` are both `pirl.demonstrations.cli`."""
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    program = MODULES.get(words[0], words[0])
    return [program, *words[1:]]


def takes(module: str, flag: str) -> bool:
    """Whether the source of a command's module declares a flag, for argparse or as a dataclass's field."""
    path = ROOT / module.replace(".", "/")
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return f'"--{flag}"' in source or re.search(rf"^    {flag}: ", source, re.MULTILINE) is not None


def run(words: list[str], folder: Path) -> None:
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
