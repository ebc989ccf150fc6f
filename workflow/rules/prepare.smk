"""The machine and the demonstrations."""


rule doctor:
    input:
        code=["pirl/doctor.py"],
    output:
        f"{RESULTS}/doctor.json",
    log:
        f"{RESULTS}/logs/doctor.log",
    conda:
        "../envs/pirl.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=5,
    shell:
        "python -m pirl.doctor --output {output} > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule demos:
    input:
        doctor=rules.doctor.output,
        code=code("envs", "demonstrations"),
        script=f"{SCRIPTS}/demos.py",
    output:
        libero=directory(f"{DEMOS}/libero"),
        xvla=directory(f"{DEMOS}/xvla"),
    log:
        f"{RESULTS}/logs/demos.log",
    benchmark:
        f"{RESULTS}/benchmarks/demos.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: config["simulation"]["workers"]
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        config=str(CONFIG_FILE),
        settings=[
            config["demos"],
            config["simulation"],
            config["suite"],
            config["task_ids"],
        ],
    shell:
        "python {input.script} --config {params.config} --output $(dirname {output.libero}) 2>&1 | tee {log}"


rule replay:
    input:
        doctor=rules.doctor.output,
        code=code(
            "envs", "demonstrations", "evaluation/plan.py", "evaluation/replay.py"
        ),
        script=f"{SCRIPTS}/replay.py",
    output:
        policy=directory(f"{RESULTS}/replay/policy"),
        selected=f"{RESULTS}/replay/selected.json",
    log:
        f"{RESULTS}/logs/replay.log",
    benchmark:
        f"{RESULTS}/benchmarks/replay.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: config["simulation"]["workers"]
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        config=str(CONFIG_FILE),
        settings=[
            config["replay"],
            config["suite"],
            config["task_ids"],
            config["suite_eval"],
        ],
    shell:
        "python {input.script} --config {params.config} 2>&1 | tee {log}"
