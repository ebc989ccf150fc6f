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
        code=code("reporting", "evaluation/statistics.py"),
        template="pirl/reporting/report.html.j2",
        captions=sorted(map(str, Path("workflow/report").glob("*.rst"))),
        script=f"{SCRIPTS}/report.py",
    output:
        html=report(
            f"{RESULTS}/report.html", caption="../report/report.rst", category="Report"
        ),
        json=f"{RESULTS}/report.json",
        metrics=expand(f"{RESULTS}/{{policy}}/metrics.json", policy=POLICIES),
        curves=expand(f"{RESULTS}/{{recipe}}/curve.csv", recipe=RECIPES),
        success=report(
            f"{RESULTS}/figures/success.svg",
            caption="../report/success.rst",
            category="Outcome",
        ),
        env_steps=report(
            f"{RESULTS}/figures/curves_env_steps.svg",
            caption="../report/curves_env_steps.rst",
            category="Learning",
        ),
        wall_time=report(
            f"{RESULTS}/figures/curves_wall_time.svg",
            caption="../report/curves_wall_time.rst",
            category="Learning",
        ),
        tasks=report(
            f"{RESULTS}/figures/tasks.svg",
            caption="../report/tasks.rst",
            category="Suites",
        ),
        timings=report(
            f"{RESULTS}/figures/timings.svg",
            caption="../report/timings.rst",
            category="Time",
        ),
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
        "python {input.script} --config {params.config} --results $(dirname {output.json})"
        " --output-html {output.html} --output-json {output.json} 2>&1 | tee {log}"
