"""The report in a real browser: on a laptop and on a phone, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from pirl.reporting.page import load_captions, render_page
from pirl.reporting.provenance import collect_provenance
from pirl.reporting.results import load_results
from tests.reporting.made_results import make_results

ROOT = Path(__file__).resolve().parents[2]
TRAINED = ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"]
EXPERIMENT = {"run": "made", "suite": "libero_object", "task_ids": [0, 3, 9], "seed": 0}
# Whatever holds words and reaches beyond the page's column; pictures that do not load.
OVERFLOWING = """() => {
    const column = document.querySelector("section").getBoundingClientRect();
    return [...document.querySelectorAll("h1, h2, p, td, th, svg text, figcaption, dd")]
        .filter(element => !element.closest(".scroll, details:not([open])"))
        .filter(element => element.getBoundingClientRect().right > column.right + 1)
        .map(element => element.textContent.trim().slice(0, 60));
}"""
BROKEN = """() => Promise.all([...document.images].map(image => {
    image.loading = "eager";
    return image.decode().then(() => null, () => image.alt);
})).then(found => found.filter(alt => alt !== null))"""


@pytest.fixture(scope="module", params=[1, 3], ids=["one seed", "three seeds"])
def page_file(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    results = load_results(make_results(folder, seeds=request.param), TRAINED, range(request.param))
    captions = load_captions(ROOT / "workflow" / "report")
    page = folder / "report.html"
    page.write_text(render_page(EXPERIMENT, results, collect_provenance(EXPERIMENT), captions))
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everything_is_within_the_window_and_follows_the_scheme(browser, page_file, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend([request.url] * request.url.startswith("http")))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(BROKEN) == []
    assert page.locator("section").count() == 8
    paper, ink = (
        sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))
        for colour in page.evaluate(
            "(style => [style.backgroundColor, style.color])(getComputedStyle(document.body))"
        )
    )
    assert (paper > ink) == (scheme == "light")
    assert abs(paper - ink) > 500  # of 765
    page.close()
    assert complaints == []


def test_a_failure_before_and_a_success_after_stand_side_by_side(browser, page_file):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(page_file.as_uri())
    page.evaluate(BROKEN)
    row = page.locator(".videos").first
    assert "failure before, success after" in page.locator("h3").first.inner_text()
    before, after = (
        row.locator("figure", has_text=caption).first.bounding_box()
        for caption in ("Warm start: failure", ": success")
    )
    assert before["y"] == after["y"] and before["x"] + before["width"] <= after["x"]
    page.close()
