"""Stage report: the comparison as one page and as JSON.

    python workflow/scripts/report.py --config configs/smoke.yaml --results results/smoke \
        --output-html results/smoke/report.html --output-json results/smoke/report.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pirl.experiment.stage import stage, stage_parser
from pirl.files import write_json_atomically, write_text_atomically
from pirl.reporting.figures import all_figures
from pirl.reporting.page import load_captions, render_page
from pirl.reporting.provenance import collect_provenance
from pirl.reporting.results import RunResults, load_results, report_json
from pirl.reporting.tables import write_tables
from pirl.tracking import RunTracker
from pirl.tracking.sending import send_pending

CAPTIONS = Path(__file__).resolve().parents[1] / "report"


def write_report(experiment: dict[str, Any], folder: Path, html: Path, json: Path) -> RunResults:
    """Write `html`, `json`, each figure as `<folder>/figures/<stem>.svg`, and each recipe's tables."""
    train, seed = experiment["train"], experiment["seed"]
    results = load_results(folder, train["recipes"], range(seed, seed + train["seeds"]))
    provenance = collect_provenance(experiment, Path("data/demos") / experiment["run"] / "libero")
    page = render_page(experiment, results, provenance, load_captions(CAPTIONS))
    for stem, (title, canvas) in all_figures(results).items():
        write_text_atomically(folder / "figures" / f"{stem}.svg", canvas.render(title, standalone=True))
    report = report_json(experiment, results, provenance)
    write_tables(folder, {"replay": report["replay"], **report["recipes"]})
    write_json_atomically(json, report)
    write_text_atomically(html, page)
    return results


def track_report(experiment: dict[str, Any], results: RunResults, html: Path, json: Path) -> None:
    """Send what earlier stages kept back, then give the parent run its numbers and the report."""
    send_pending(Path("runs") / experiment["run"], results.folder)
    journals = results.folder / "tracking" / "pipeline"
    with RunTracker.for_pipeline(experiment["run"], folder=journals, settings=experiment) as tracker:
        for recipe in results.rows:
            steps = recipe.training["env_steps"] if recipe.training else 0
            if recipe.average is not None:
                tracker.log_metrics({f"eval/average/success_rate/{recipe.path}": recipe.average}, steps)
        tracker.log_artifact(html)
        tracker.log_artifact(json)


def main(args: list[str] | None = None) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__.splitlines()[0])
    parser.add_argument("--output-html", type=Path, default=None)
    parser.add_argument("--output-json", type=Path, default=None)
    arguments = parser.parse_args(args)
    with stage("report", arguments) as run:
        html = arguments.output_html or run.results / "report.html"
        json = arguments.output_json or run.results / "report.json"
        results = write_report(run.experiment, run.results, html, json)
        track_report(run.experiment, results, html, json)


if __name__ == "__main__":
    main()
