"""`snakemake --report` makes the workflow's own report, with captions, of what the report stage wrote."""

import re

from pirl.reporting.figures import all_figures
from pirl.reporting.page import load_captions
from pirl.reporting.results import load_results
from tests.reporting.made_results import make_results
from tests.workflow.clones import ROOT, snakemake


def test_every_figure_is_in_the_workflows_report_with_its_caption(project, tmp_path, browser):
    results = load_results(make_results(tmp_path, tasks=1), ["pi_rl_flow_sde", "pi_rl_flow_noise", "sac"])
    figures = all_figures(results)
    for stem, (title, canvas) in figures.items():
        svg = canvas.render(title, standalone=True)
        (project / "results" / "smoke" / "figures" / f"{stem}.svg").write_text(svg)
    snakemake(project, "smoke", "--report", "report.html")
    text = (project / "report.html").read_text()
    captions = load_captions(ROOT / "workflow" / "report")
    for name in ("report", "workflow", *figures):
        assert re.split(r"[.:,']", captions[name])[0] in text, name
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((project / "report.html").as_uri())
    for category in ("Report", "Outcome", "Learning", "Suites", "Time"):
        page.get_by_text(category, exact=True).first.wait_for()
    page.close()
