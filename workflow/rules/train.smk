"""Online reinforcement learning: one job per recipe holds the learner and its actors."""

from pirl.experiment.recipes import run_settings, split_seed, with_seed


def training_settings(wildcards):
    """What learner and actors are told: only a change of that trains a recipe anew."""
    recipe, seed = split_seed(wildcards.recipe)
    return run_settings(
        with_seed(config, seed),
        recipe,
        warm_start=Path(rules.warm_start.output.policy),
        demonstrations=Path(rules.demos.output.libero),
        output_dir=Path(RUNS, wildcards.recipe),
    )


rule train:
    input:
        policy=rules.warm_start.output.policy,
        demonstrations=rules.demos.output.libero,
        code=code(
            "envs",
            "flow",
            "policies",
            "algorithms",
            "runtime",
            "tracking",
            "muon.py",
            "precision.py",
        ),
        script=f"{SCRIPTS}/train.py",
    output:
        f"{RESULTS}/{{recipe}}/train.json",
    log:
        f"{RESULTS}/logs/train_{{recipe}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_{{recipe}}.tsv"
    conda:
        "../envs/pirl.yaml"
    threads: workflow.cores
    resources:
        mem_mb=12000,
        runtime=720,
        gpu=GPUS,
    params:
        config=str(CONFIG_FILE),
        runs=RUNS,
        settings=training_settings,
    shell:
        "python {input.script} --config {params.config} --recipe {wildcards.recipe}"
        " --warm-start {input.policy} --demonstrations {input.demonstrations}"
        " --work-dir {params.runs}/{wildcards.recipe} 2>&1 | tee {log}"
