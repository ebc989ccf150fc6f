"""Behaviour cloning with stock lerobot-train."""


rule warm_start:
    input:
        dataset=rules.demos.output[demonstration_layout(config)],
        code=code("policies"),
        script=f"{SCRIPTS}/warm_start.py",
    output:
        policy=directory(f"{RESULTS}/warm_start/policy"),
        selected=f"{RESULTS}/warm_start/selected.json",
    log:
        f"{RESULTS}/logs/warm_start.log",
    benchmark:
        f"{RESULTS}/benchmarks/warm_start.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=GPUS,
    params:
        config=str(CONFIG_FILE),
        runs=RUNS,
        settings=[config["warm_start"], config["policy"], config["seed"]],
    shell:
        "python {input.script} --config {params.config} --dataset {input.dataset}"
        " --work-dir {params.runs}/warm_start 2>&1 | tee {log}"
