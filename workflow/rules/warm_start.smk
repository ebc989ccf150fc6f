"""Pretraining where it is asked for, then behaviour cloning, both with stock lerobot-train."""


rule pointing:
    input:
        doctor=rules.doctor.output,
        code=code("envs", "demonstrations"),
        script=f"{SCRIPTS}/pointing.py",
    output:
        directory(f"data/pointing/{RUN}/xvla"),
    log:
        f"{RESULTS}/logs/pointing.log",
    benchmark:
        f"{RESULTS}/benchmarks/pointing.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: config["simulation"]["workers"]
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        config=str(CONFIG_FILE),
        settings=[
            {
                key: config["pretrain"][key]
                for key in ("scenes_per_task", "frames_per_scene", "seed_base")
            },
            config["simulation"],
            config["suite"],
            config["task_ids"],
        ],
    shell:
        "python {input.script} --config {params.config} --output {output} 2>&1 | tee {log}"


rule pretrain:
    input:
        dataset=rules.pointing.output,
        code=code("experiment/cloning.py", "policies", "muon.py", "precision.py"),
        script=f"{SCRIPTS}/pretrain.py",
    output:
        directory(f"{RESULTS}/pretrain/policy"),
    log:
        f"{RESULTS}/logs/pretrain.log",
    benchmark:
        f"{RESULTS}/benchmarks/pretrain.tsv"
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
        settings=[config["pretrain"], config["policy"], config["seed"]],
    shell:
        "python {input.script} --config {params.config} --dataset {input.dataset}"
        " --work-dir {params.runs}/pretrain 2>&1 | tee {log}"


rule warm_start:
    input:
        dataset=rules.demos.output[demonstration_layout(config)],
        pretrained=PRETRAINED,
        code=code("experiment/cloning.py", "policies", "muon.py", "precision.py"),
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
        pretrained=lambda wildcards, input: (
            f"--pretrained {input.pretrained}" if input.pretrained else ""
        ),
        settings=[config["warm_start"], config["policy"], config["seed"]],
    shell:
        "python {input.script} --config {params.config} --dataset {input.dataset} {params.pretrained}"
        " --work-dir {params.runs}/warm_start 2>&1 | tee {log}"
