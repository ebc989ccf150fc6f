"""What the site adds to docs/: README as first page, the configuration reference, formulas, diagrams."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import griffe
import latex2mathml.converter
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
MERMAID = "assets/mermaid.min.js"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
PRIME = re.compile(r"<msup>(<mi>\w</mi>)<mi>&#x02032;</mi></msup>")
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
RUN_SECTIONS = {
    "": "pirl.runtime.configuration.OnlineTrainConfig",
    "rollout.": "pirl.runtime.configuration.RolloutConfig",
    "budget.": "pirl.runtime.configuration.BudgetConfig",
    "buffer.": "pirl.runtime.configuration.BufferConfig",
    "transport.": "pirl.runtime.configuration.TransportConfig",
    "transport.tls.": "pirl.runtime.tls.TlsConfig",
    "algorithm.": "pirl.algorithms.pi_rl.configuration.PiRLConfig",
}
RUN_INTRODUCTION = """
## Run: `run.json` and dotted overrides

What `pirl-train`, `pirl-learner` and `pirl-actor` take. The train stage writes `run.json` from the
experiment; every key can be overridden on the command line, as in `--algorithm.actor_lr=1e-5`. Not listed are
the keys that come from LeRobot as they are: `output_dir`, `seed`, `resume`, `batch_size`, `online_ratio`,
`policy.*`, `env.*` and the settings of SAC. `pirl-learner --help` shows them, too.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and assets that are made here."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = readme.replace("](docs/", "](").replace('="docs/', '="')
    mermaid = Path(str(distribution("artoo-mermaid").locate_file("artoo_mermaid"))) / MERMAID
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "configuration.md", content=configuration_page()))
    files.append(File.generated(config, MERMAID, content=mermaid.read_bytes()))
    return files


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Formulas become MathML; pages with diagrams load the site's own Mermaid."""
    content = FORMULA.sub(_mathml, content)
    if '<pre class="mermaid">' in content:
        content += f'<script src="{get_relative_url(MERMAID, page.url)}"></script>'
    return content


def configuration_page() -> str:
    """Every key of an experiment and of a run, as Markdown."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    sections = {name: rule for name, rule in schema["properties"].items() if "properties" in rule}
    single = {name: rule for name, rule in schema["properties"].items() if name not in sections}
    lines = ["# Configuration", "", "## Experiment: `configs/RUN.yaml`", "", schema["description"]]
    lines += _table(_schema_rows(single))
    for name, rule in sections.items():
        lines += ["", f"### `{name}`", "", _sentence(rule["description"])]
        lines += _table(_schema_rows(rule["properties"], f"{name}."))
    lines.append(RUN_INTRODUCTION)
    for prefix, path in RUN_SECTIONS.items():
        lines += ["", f"### `{prefix}*`" if prefix else "### The run", *_table(_class_rows(path, prefix))]
    return "\n".join(lines)


def _schema_rows(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, rule in properties.items():
        if "properties" in rule:
            yield from _schema_rows(rule["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, _kind(rule), f"`{_inline(rule['default'])}`", _sentence(rule["description"])


def _kind(rule: dict[str, Any]) -> str:
    """Type with bounds, or the allowed values."""
    allowed = rule.get("enum") or rule.get("items", {}).get("enum")
    if allowed:
        listed = "list of " if rule.get("type") == "array" else ""
        return listed + ", ".join(f"`{_inline(value)}`" for value in allowed)
    kind = rule["type"] if isinstance(rule["type"], str) else " or ".join(rule["type"])
    return " ".join([kind, *(f"{sign} {rule[key]}" for key, sign in BOUNDS.items() if key in rule)])


def _class_rows(path: str, prefix: str) -> Iterator[tuple[str, ...]]:
    """Fields of a configuration class; a field's meaning is the comment above it, as in `--help`."""
    module, name = path.rsplit(".", 1)
    source = griffe.load(module, search_paths=[str(ROOT)])
    text = source.filepath.read_text(encoding="utf-8").splitlines()
    for field in source[name].attributes.values():
        if field.value is None or re.search("ClassVar|Config", str(field.annotation)):
            continue
        first = field.lineno - 1
        while re.match(r" *# (?!---)", text[first - 1]):
            first -= 1
        meaning = " ".join(line.strip().removeprefix("# ") for line in text[first : field.lineno - 1])
        default = re.sub(r"^field\(default_factory=(?:lambda: )?(.*)\)$", r"\1", str(field.value))
        yield prefix + field.name, f"`{field.annotation}`", f"`{default}`", meaning


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, *others in rows:
        cells = " | ".join(cell.replace("|", "\\|") for cell in others)
        lines.append(f'| <code style="white-space: nowrap">{key}</code> | {cells} |')
    return lines


def _inline(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _mathml(found: re.Match[str]) -> str:
    tag, formula = found.groups()
    display = "block" if tag == "div" else "inline"
    mathml = latex2mathml.converter.convert(html.unescape(formula), display=display)
    return PRIME.sub(r"<mrow>\1<mo>&#x02032;</mo></mrow>", mathml)  # a prime is raised by itself
