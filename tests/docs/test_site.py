"""The documentation builds without a warning, is complete, and loads nothing from other hosts."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pirl.experiment.config import SCHEMA_PATH
from tests.docs.documents import ROOT

# A build takes 12 s of an idle machine, minutes of a crowded one.
pytestmark = pytest.mark.timeout(900)
# mermaid@11.16.0/dist/mermaid.min.js of the npm registry; artoo-mermaid carries the same bytes.
MERMAID_SHA256 = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"
LOADED = re.compile(r"<(?:script|img|iframe|video|source)\b[^>]*\bsrc=\"?([^\s\">]+)|<link\b([^>]*)>")
FOREIGN = re.compile(r"^(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site; broken links, anchors, references and pages without a place are warnings, and fatal."""
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_every_module_has_a_page(site):
    for path in (ROOT / "pirl").rglob("*.py"):
        if not path.name.startswith("__"):
            assert (site / "api" / path.relative_to(ROOT)).with_suffix(".html").is_file(), path


def test_the_configuration_reference_holds_every_key(site):
    page = (site / "configuration.html").read_text()

    def missing(rule, prefix=""):
        for name, inner in rule["properties"].items():
            if "properties" in inner:
                yield from missing(inner, f"{prefix}{name}.")
            elif f">{prefix}{name}</code>" not in page:
                yield prefix + name

    assert list(missing(yaml.safe_load(SCHEMA_PATH.read_text()))) == []
    for key, meaning in {
        "algorithm.target_kl": "Epochs end early once the KL",
        "rollout.workers": "Environment worker processes per actor",
    }.items():
        assert re.search(rf">{key}</code>(?:(?!</tr>).)*{meaning}", page, re.DOTALL), key


def test_nothing_is_loaded_from_other_hosts(site):
    for page in site.rglob("*.html"):
        for source, link in LOADED.findall(page.read_text()):
            target = source or (re.search(r'href="?([^\s">]+)', link) or [""])[1]
            assert not FOREIGN.match(target), f"{page.relative_to(site)} loads {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text()), style


def test_formulas_and_diagrams_need_no_network(site):
    formulas = (site / "algorithms" / "pi_rl.html").read_text()
    assert formulas.count("<math") > 30
    assert "arithmatex" not in formulas
    home = (site / "index.html").read_text()
    assert home.count('<pre class="mermaid">') == (ROOT / "README.md").read_text().count("```mermaid")
    assert 'src="assets/mermaid.min.js"' in home
    assert hashlib.sha256((site / "assets" / "mermaid.min.js").read_bytes()).hexdigest() == MERMAID_SHA256
