"""Selection on starts of its own, then the final tests on official initial states."""


rule select:
    input:
        trained=rules.train.output,
        code=code("envs", "evaluation", "policies"),
        script=f"{SCRIPTS}/select_checkpoint.py",
    output:
        policy=directory(f"{RESULTS}/{{recipe}}/policy"),
        selected=f"{RESULTS}/{{recipe}}/selected.json",
    log:
        f"{RESULTS}/logs/select_{{recipe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/select_{{recipe}}.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: config["simulation"]["workers"]
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=GPUS,
    params:
        config=str(CONFIG_FILE),
        runs=RUNS,
        settings=[config["select"], config["evaluation"]],
    shell:
        "python {input.script} --config {params.config} --recipe {wildcards.recipe}"
        " --run-dir {params.runs}/{wildcards.recipe} 2>&1 | tee {log}"


rule smoke_eval:
    input:
        policy=f"{RESULTS}/{{policy}}/policy",
        code=code("envs", "evaluation", "policies"),
        script=f"{SCRIPTS}/smoke_eval.py",
    output:
        f"{RESULTS}/{{policy}}/smoke.json",
    log:
        f"{RESULTS}/logs/smoke_{{policy}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/smoke_{{policy}}.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: config["simulation"]["workers"]
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=GPUS,
    params:
        config=str(CONFIG_FILE),
        flags="",
        settings=[config["smoke_eval"], config["evaluation"]],
    shell:
        "python {input.script} --config {params.config} --recipe {wildcards.policy} {params.flags} 2>&1 | tee {log}"


use rule smoke_eval as wide_eval with:
    output:
        f"{RESULTS}/{{policy}}/smoke_wide.json",
    log:
        f"{RESULTS}/logs/smoke_wide_{{policy}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/smoke_wide_{{policy}}.tsv"
    params:
        config=str(CONFIG_FILE),
        flags="--wide",
        settings=[config["smoke_eval"], config["evaluation"]],


use rule smoke_eval as exact_eval with:
    output:
        f"{RESULTS}/{{policy}}/smoke_exact.json",
    log:
        f"{RESULTS}/logs/smoke_exact_{{policy}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/smoke_exact_{{policy}}.tsv"
    params:
        config=str(CONFIG_FILE),
        flags="--exact",
        settings=[config["smoke_eval"], config["evaluation"]],


use rule smoke_eval as suite_eval with:
    input:
        policy=f"{RESULTS}/{{policy}}/policy",
        code=code("envs", "evaluation", "policies"),
        script=f"{SCRIPTS}/suite_eval.py",
    output:
        f"{RESULTS}/{{policy}}/suites.json",
    log:
        f"{RESULTS}/logs/suites_{{policy}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/suites_{{policy}}.tsv"
    params:
        config=str(CONFIG_FILE),
        flags="",
        settings=[config["suite_eval"], config["evaluation"]],
