"""From demonstrations to report: `snakemake --cores all report` (or `all`, the default)."""

from snakemake.utils import min_version

from pirl.experiment.config import load_experiment

min_version("9.0")


if (
    not workflow.configfiles
):  # a file given by --configfile replaces the default, it does not extend it

    configfile: "configs/default.yaml"


# The stages read it by the same function: its base merged, checked against the schema, defaults filled in.
config = load_experiment(workflow.configfiles[-1])


report: "workflow/report/workflow.rst"


include: "workflow/rules/layout.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/warm_start.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.report.output,
