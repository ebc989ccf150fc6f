"""What README.md and docs/ name exists: files, commands, settings, metrics and identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lerobot
import pytest
import snakemake

from pirl.tracking.names import METRICS
from tests.docs.documents import ROOT, Quoted, commands, spans
from tests.docs.settings import experiment_keys, lerobot_keys, run_keys
from tests.docs.test_commands import MODULES, check, takes

FOLDERS = ("configs", "docs", "pirl", "tests", "workflow")
ENDINGS = {"db", "html", "json", "jsonl", "md", "out", "pem", "py", "safetensors", "toml", "yaml"}
PROGRAMS = ("make ", "pirl-", "python -m pirl.")
GROUPS = {name.split("/")[0] for name in METRICS}


def strange_files(text: str) -> Iterator[str]:
    """Paths of the repository; `path: symbol`, `path::test` and `path:key=value` name their path.

    RUN and <run> stand for any, and what begins with my_ is the reader's.
    """
    for word in re.split(r"[: =]+", text):
        if word.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and not re.search(
            r"[A-Z]{3}|[<>]|/my_", word
        ):
            yield from (path for path in expanded(word.rstrip("/")) if not any(ROOT.glob(path)))


def strange_commands(text: str) -> Iterator[str]:
    """Make targets, entry points and their flags."""
    if text.startswith(PROGRAMS):
        try:
            check(Quoted(re.sub(r"<\w+>", "NAME", text), "", needs=True))
        except AssertionError as error:
            yield str(error)
    for flag in re.findall(r"(?:^| )--(\w+)(?=[ =]|$)", text) if text.startswith("--") else ():
        if flag not in settings() and not any(takes(module, flag) for module in MODULES.values()):
            yield f"--{flag}"


def strange_settings(text: str) -> Iterator[str]:
    """`section.key`, `--section.key=value`, `key=value` and `key: value`."""
    sections, names = sections_and_names()
    for key in re.findall(r"(?:^|(?<= ))(?:--)?([a-z_]+(?:\.[a-z_0-9]+)+)(?=$|[=: ])", text):
        section, *_, name = key.split(".")
        if section in sections and name not in ENDINGS and key not in settings():
            yield key
    bare = re.match(r"([a-z]\w*)(?:=|: )", text)
    if bare and bare[1] not in names:
        yield bare[1]


def strange_metrics(text: str) -> Iterator[str]:
    """`group/name`."""
    if re.fullmatch(r"[a-z_]+/[a-z_<>/]+", text) and text.split("/")[0] in GROUPS and text not in METRICS:
        yield text


def strange_identifiers(text: str) -> Iterator[str]:
    """`snake_case`, `CamelCase` and `calls()`, here, in LeRobot or in Snakemake."""
    name = text.removesuffix("()")
    if re.fullmatch(r"[a-z]\w*_\w+|(?:[A-Z]+[a-z0-9]+){2,}|[A-Z]+_[A-Z_]+", name) and name not in words():
        yield name


CHECKS = {
    "files": (strange_files, "configs/none.yaml"),
    "commands": (strange_commands, "pirl-train --nonsense"),
    "settings": (strange_settings, "train.nonsense"),
    "metrics": (strange_metrics, "rollout/nonsense"),
    "identifiers": (strange_identifiers, "nonsense_name"),
}


@pytest.mark.parametrize("kind", CHECKS)
def test_everything_named_exists(kind):
    strange, _ = CHECKS[kind]
    quoted = [*spans(), *(commands() if kind == "files" else ())]
    found = [f"{each.place}: `{each.text}`: {name}" for each in quoted for name in strange(each.text)]
    assert not found, f"no such {kind}:\n" + "\n".join(found)


@pytest.mark.parametrize("kind", CHECKS)
def test_what_does_not_exist_is_found(kind):
    strange, invented = CHECKS[kind]
    assert list(strange(invented))


@cache
def settings() -> frozenset[str]:
    return experiment_keys() | run_keys() | lerobot_keys()


@cache
def sections_and_names() -> tuple[set[str], set[str]]:
    """First and last parts of the dotted keys."""
    parts = [key.split(".") for key in settings()]
    return {first for first, *others in parts if others}, {each[-1] for each in parts}


@cache
def words() -> frozenset[str]:
    """Every word of the sources: the project's, LeRobot's and Snakemake's."""
    packages = [Path(module.__file__).parent for module in (lerobot, snakemake)]
    files = [
        ROOT / "Makefile",
        *(path for folder in (*FOLDERS, *packages) for path in (ROOT / folder).rglob("*")),
    ]
    texts = (
        path.read_text(encoding="utf-8")
        for path in files
        if path.is_file() and path.suffix in ("", ".py", ".yaml", ".smk") and path.name != Path(__file__).name
    )
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def expanded(path: str) -> list[str]:
    """`a/{b,c}` as `a/b` and `a/c`."""
    found = re.search(r"\{([^}]*)\}", path)
    if not found:
        return [path]
    return [each for part in found[1].split(",") for each in expanded(path.replace(found[0], part, 1))]
