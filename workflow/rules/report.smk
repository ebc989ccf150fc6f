"""The report: what the user came for."""


rule report:
    input:
        trained=expand(f"{RESULTS}/{{recipe}}/train.json", recipe=RECIPES),
        selected=expand(f"{RESULTS}/{{policy}}/selected.json", policy=POLICIES),
        evaluated=expand(
            f"{RESULTS}/{{policy}}/{{protocol}}.json",
            policy=POLICIES,
            protocol=PROTOCOLS,
        ),
        code=code("reporting", "tracking", "evaluation/statistics.py"),
        script=f"{SCRIPTS}/report.py",
    output:
        html=report(
            f"{RESULTS}/report.html", caption="../report/report.rst", category="Report"
        ),
        json=f"{RESULTS}/report.json",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/pirl.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=str(CONFIG_FILE),
    shell:
        "python {input.script} --config {params.config} --results {RESULTS}"
        " --output-html {output.html} --output-json {output.json} 2>&1 | tee {log}"
