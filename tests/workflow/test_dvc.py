"""Both front doors watch the same code and settings, so neither keeps a result the other calls outdated."""

import re
from pathlib import Path

import pytest
import yaml

from pirl.experiment.config import PROJECT_ROOT
from tests.workflow.clones import outputs

RULES_OF_STAGE = {
    "demonstrations": ["demos"],
    "warm_start": ["pointing", "pretrain", "warm_start"],
    "train": ["train", "select"],
    "report": ["replay", "smoke_eval", "suite_eval", "report"],
}
STAGES = yaml.safe_load((PROJECT_ROOT / "dvc.yaml").read_text())["stages"]


def rule_texts() -> dict[str, str]:
    files = sorted((PROJECT_ROOT / "workflow" / "rules").glob("*.smk"))
    text = "\n".join(path.read_text() for path in files if path.stem != "layout")
    parts = re.split(r"^(?:use rule \w+ as|rule) (\w+)", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def common_code() -> list[str]:
    layout = (PROJECT_ROOT / "workflow" / "rules" / "layout.smk").read_text()
    return re.findall(r'"([\w./]+)"', re.search(r"for package in \(([^)]*)\*packages", layout)[1])


def watched_by_snakemake(rules: list[str]) -> set[str]:
    watched = set()
    for rule in rules:
        text = rule_texts()[rule]
        packages = re.findall(r'"([\w./]+)"', re.search(r"code=code\(([^)]*)\)", text)[1])
        scripts = re.findall(r'script=f"\{SCRIPTS\}/(\w+\.py)"', text)
        watched |= {f"pirl/{package}" for package in (*common_code(), *packages)}
        watched |= {f"workflow/scripts/{script}" for script in scripts}
    return watched


def test_every_rule_belongs_to_a_stage():
    covered = {rule for rules in RULES_OF_STAGE.values() for rule in rules}
    assert set(rule_texts()) - covered <= {"doctor", "wide_eval", "exact_eval"}


@pytest.mark.parametrize("stage", sorted(RULES_OF_STAGE))
def test_the_code_lists_agree(stage):
    watched = watched_by_snakemake(RULES_OF_STAGE[stage])
    redundant = {path for path in watched if any(path.startswith(f"{folder}/") for folder in watched)}
    deps = {path for path in STAGES[stage]["deps"] if path.startswith(("pirl/", "workflow/"))}
    assert deps == watched - redundant


@pytest.mark.parametrize("stage", sorted(RULES_OF_STAGE))
def test_the_settings_agree(stage):
    text = "".join(rule_texts()[rule] for rule in RULES_OF_STAGE[stage])
    settings = set(re.findall(r'config\["(\w+)"\]', re.sub(r"threads:.*", "", text)))
    (params,) = STAGES[stage]["params"]
    (watched,) = params.values()
    assert settings <= set(watched)


def test_every_existing_path_is_right():
    for stage in STAGES.values():
        for path in stage["deps"]:
            if not path.startswith(("data/", "results/")):
                assert (PROJECT_ROOT / path).exists(), path


@pytest.mark.parametrize("run", ["default", "smoke"])
def test_shipped_configs_give_dvc_all_it_asks_for(run):
    text = (PROJECT_ROOT / "dvc.yaml").read_text().replace("${run}", run)
    settings = yaml.safe_load((PROJECT_ROOT / "configs" / f"{run}.yaml").read_text())
    files = outputs(PROJECT_ROOT, run)
    made = {*files, *(str(Path(path).parent) for path in files)}
    for stage in yaml.safe_load(text)["stages"].values():
        (params,) = stage["params"]
        assert set(params[f"configs/{run}.yaml"]) <= set(settings)
        assert {path for out in (*stage["outs"], *stage.get("metrics", [])) for path in out} <= made
