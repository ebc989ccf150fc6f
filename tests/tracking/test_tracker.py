"""RunTracker against a real SQLite store: what it records, and what it keeps while the store is away."""

from __future__ import annotations

import logging
import multiprocessing
import sqlite3
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pirl.tracking import RunTracker
from pirl.tracking.journal import Journal
from pirl.tracking.sending import send_pending
from pirl.tracking.store import EXPERIMENT, ensure_store, tracking_uri

SETTINGS = {"seed": 3, "train": {"env_steps": 100, "recipes": ["sac"]}}


def open_tracker(folder: Path, uri: str, recipe: str = "pi_rl_flow_sde", **options) -> RunTracker:
    return RunTracker.for_stage(
        "smoke",
        stage="train",
        recipe=recipe,
        algorithm="sac" if recipe == "sac" else "pi_rl",
        policy="xvla",
        suite="libero_object",
        seed=3,
        settings=SETTINGS,
        folder=folder,
        uri=uri,
        **options,
    )


def child_runs(uri: str) -> list:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([experiment.experiment_id], "tags.stage != 'pipeline'")


def history(uri: str, run, name: str) -> list[tuple[int, float]]:
    points = MlflowClient(uri).get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value) for point in points)


def test_the_default_store_is_beside_the_snakefile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Path(tracking_uri().removeprefix("sqlite:///")).with_name("Snakefile").is_file()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"


def test_a_stage_is_a_tagged_child_with_metrics_against_env_steps(tmp_path: Path, store_uri: str) -> None:
    with open_tracker(tmp_path / "pi", store_uri, variant="flow_sde") as tracker:
        tracker.log_metrics({"loss/policy": 0.5}, step=100)
        tracker.log_metrics({"loss/policy": 0.25}, step=200)
    with open_tracker(tmp_path / "sac", store_uri, recipe="sac") as tracker:
        tracker.log_metrics({"loss_actor": 2.0, "critic_grad_norm": 1.5}, step=100)

    pi_rl, sac = sorted(child_runs(store_uri), key=lambda run: run.data.tags["recipe"])
    assert history(store_uri, pi_rl, "loss/policy") == [(100, 0.5), (200, 0.25)]
    assert history(store_uri, sac, "loss/policy") == [(100, 2.0)]
    assert history(store_uri, sac, "grad_norm/critic") == [(100, 1.5)]
    assert pi_rl.info.status == sac.info.status == "FINISHED"
    assert pi_rl.info.run_name == "train-pi_rl_flow_sde-seed3"
    wanted = {
        "stage": "train",
        "algorithm": "pi_rl",
        "variant": "flow_sde",
        "policy": "xvla",
        "seed": "3",
        "suite": "libero_object",
        "pipeline": "smoke",
    }
    assert wanted.items() <= pi_rl.data.tags.items()
    assert {"git_sha", "config_hash"} <= pi_rl.data.tags.keys()
    assert pi_rl.data.params["train.env_steps"] == "100"
    parents = {run.data.tags["mlflow.parentRunId"] for run in (pi_rl, sac)}
    assert len(parents) == 1
    parent = MlflowClient(store_uri).get_run(parents.pop())
    assert parent.info.run_name == "smoke"
    assert parent.data.tags["stage"] == "pipeline"


def test_metrics_wait_for_a_locked_database(
    tmp_path: Path, store_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock = sqlite3.connect(store_uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    tracker = open_tracker(tmp_path / "run", store_uri)
    began = time.monotonic()
    for step in range(50):
        tracker.log_metrics({"loss/value": step / 2}, step)
    assert time.monotonic() - began < 1.0, "logging must not wait for the store"
    deadline = time.monotonic() + 60
    with caplog.at_level(logging.WARNING):
        while "does not answer" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert not tracker.finish(timeout_s=0.1)
    assert caplog.text.count("does not answer") == 1, "one warning is enough"
    lock.execute("ROLLBACK")
    lock.close()
    deadline = time.monotonic() + 60
    while not (child_runs(store_uri) and child_runs(store_uri)[0].info.status == "FINISHED"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    (run,) = child_runs(store_uri)
    assert history(store_uri, run, "loss/value") == [(step, step / 2) for step in range(50)]


def _log_and_die(folder: Path, uri: str) -> None:
    tracker = open_tracker(folder, uri)
    for step in range(20):
        tracker.log_metrics({"loss/value": float(step)}, step)
    import os

    os._exit(1)


def test_a_dead_process_and_an_unreachable_store_lose_nothing(tmp_path: Path, store_uri: str) -> None:
    folder = tmp_path / "runs" / "sac"
    process = multiprocessing.get_context("spawn").Process(
        target=_log_and_die, args=(folder, "http://127.0.0.1:9")
    )
    process.start()
    process.join(60)
    with open(folder / "tracking.jsonl", "a") as file:
        file.write('{"event": "metr')  # torn by the kill
    tracker = open_tracker(folder, store_uri)  # the resumed process finds the store again
    tracker.log_metrics({"loss/value": 99.0}, 99)
    tracker.log_metrics({"loss/value": 100.0}, 100)
    assert tracker.finish()
    (run,) = child_runs(store_uri)
    values = [value for _, value in history(store_uri, run, "loss/value")]
    assert values[:20] == [float(step) for step in range(20)]
    assert values[-1] == 100.0
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("last_step", [0, 30, 50])
def test_a_run_that_goes_on_from_a_checkpoint_takes_back_what_lies_beyond(
    tmp_path: Path, store_uri: str, last_step: int
) -> None:
    """A killed learner's work since its checkpoint is done again: curves have neither gap nor repeat."""
    before = {step: float(step) for step in (10, 20, 30, 40, 50)}
    first = open_tracker(tmp_path, store_uri)
    for step, value in before.items():
        first.log_metrics({"loss/value": value}, step)
    assert first.finish("KILLED")
    second = open_tracker(tmp_path, store_uri, last_step=last_step)
    second.log_metrics({"loss/value": -1.0}, last_step + 10)
    assert second.finish()
    (run,) = child_runs(store_uri)  # the other one is deleted
    kept = [(step, value) for step, value in before.items() if step <= last_step]
    assert history(store_uri, run, "loss/value") == [*kept, (last_step + 10, -1.0)]
    assert run.info.status == "FINISHED"
    assert len(list(tmp_path.glob("tracking*.jsonl"))) == 1


def test_a_journal_that_is_cut_back_stays_locked(tmp_path: Path) -> None:
    run = {"pipeline": "smoke", "name": "x", "tags": {"stage": "x"}, "params": {}}
    first = Journal.for_run(tmp_path, run)
    first.append({"event": "metrics", "step": 9, "time_ms": 0, "values": {"m": 1.0}})
    first.close()
    journal = Journal.for_run(tmp_path, run, last_step=5)
    with pytest.raises(BlockingIOError):
        Journal(journal.path)
    assert [event["event"] for event, _ in journal.events(0)] == ["run", "resume"]
    journal.close()


def test_a_sweep_sends_what_earlier_runs_kept(tmp_path: Path, store_uri: str) -> None:
    journal = Journal.for_run(
        tmp_path / "runs" / "a", {"pipeline": "smoke", "name": "x", "tags": {"stage": "x"}, "params": {}}
    )
    for step in range(3):
        journal.append(
            {"event": "metrics", "step": step, "time_ms": 1000 + step, "values": {"m": 1.0 * step}}
        )
    assert send_pending(tmp_path / "runs", uri=store_uri) == (0, 0), "a journal in use is left alone"
    journal.close()
    sent, kept = send_pending(tmp_path / "runs", uri="sqlite:////proc/nowhere/mlflow.db")
    assert (sent, kept) == (0, 4)
    assert send_pending(tmp_path / "runs", uri=store_uri) == (4, 0)
    assert send_pending(tmp_path / "runs", uri=store_uri) == (0, 0)
    (run,) = child_runs(store_uri)
    assert history(store_uri, run, "m") == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_an_emptied_store_gets_everything_again(tmp_path: Path, store_uri: str, prepared_store: Path) -> None:
    tracker = open_tracker(tmp_path / "run", store_uri)
    tracker.log_metrics({"loss/value": 1.0}, 1)
    assert tracker.finish(status="KILLED")
    fresh = tmp_path / "fresh.db"
    fresh.write_bytes(prepared_store.read_bytes())
    tracker = open_tracker(tmp_path / "run", f"sqlite:///{fresh}")
    tracker.log_metrics({"loss/value": 2.0}, 2)
    assert tracker.finish()
    (run,) = child_runs(f"sqlite:///{fresh}")
    assert history(f"sqlite:///{fresh}", run, "loss/value") == [(1, 1.0), (2, 2.0)]


def test_a_finished_run_is_not_continued_but_a_failed_one_is(tmp_path: Path, store_uri: str) -> None:
    with pytest.raises(RuntimeError, match="broken"), open_tracker(tmp_path / "run", store_uri):
        raise RuntimeError("broken")
    (run,) = child_runs(store_uri)
    assert run.info.status == "FAILED"
    open_tracker(tmp_path / "run", store_uri).finish()
    (run,) = child_runs(store_uri)
    assert run.info.status == "FINISHED"
    open_tracker(tmp_path / "run", store_uri).finish()
    assert len(child_runs(store_uri)) == 2


def test_lerobots_learner_can_log_through_it(tmp_path: Path, store_uri: str) -> None:
    with open_tracker(tmp_path / "run", store_uri, recipe="sac") as tracker:
        tracker.log_dict(
            d={"Episodic reward": 1.0, "Interaction step": 70},
            mode="train",
            custom_step_key="Interaction step",
        )
        tracker.log_dict(
            d={"loss_critic": 0.5, "Optimization step": 8}, mode="train", custom_step_key="Optimization step"
        )
        tracker.log_dict(
            {"Optimization frequency loop [Hz]": 3.0, "Optimization step": 8},
            mode="train",
            custom_step_key="Optimization step",
        )
        with pytest.raises(ValueError, match="step"):
            tracker.log_dict({"loss_critic": 0.5})
    (run,) = child_runs(store_uri)
    for name, value in {
        "rollout/episode_return": 1.0,
        "loss/value": 0.5,
        "progress/updates": 8.0,
        "time/updates_per_s": 3.0,
    }.items():
        assert history(store_uri, run, name)[0] == (70, value)


def test_checkpoints_are_ranked_as_logged_models(tmp_path: Path, store_uri: str) -> None:
    with open_tracker(tmp_path / "run", store_uri) as tracker:
        for step, rate in ((100, 0.25), (200, 0.75), (300, 0.5)):
            tracker.log_checkpoint(
                f"pi_rl_flow_sde-{step}", tmp_path / str(step), step, {"select/success_rate": rate}
            )
    models = MlflowClient(store_uri).search_logged_models(
        [ensure_store(store_uri)],
        order_by=[{"field_name": "metrics.select/success_rate", "ascending": False}],
    )
    assert [model.name for model in models] == [f"pi_rl_flow_sde-{step}" for step in (200, 300, 100)]
    assert models[0].params["path"] == str(tmp_path / "200")
    assert models[0].tags["algorithm"] == "pi_rl"


def test_the_pipeline_run_takes_headline_and_report(tmp_path: Path, store_uri: str) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>report</p>")
    summary = {
        "suites": {"libero_goal": {"success_rate": 0.5}, "libero_10": {"success_rate": 0.0}},
        "average_success_rate": 0.25,
    }
    with RunTracker.for_pipeline("smoke", folder=tmp_path / "pipeline", uri=store_uri) as tracker:
        tracker.log_evaluation(summary, "suites", step=500)
        tracker.log_artifact(report)
    with open_tracker(tmp_path / "child", store_uri) as child:
        child.log_evaluation(summary, "smoke", step=500)
    (run,) = child_runs(store_uri)
    parent = MlflowClient(store_uri).get_run(run.data.tags["mlflow.parentRunId"])
    assert history(store_uri, parent, "eval/libero_goal/success_rate") == [(500, 0.5)]
    assert history(store_uri, parent, "eval/average/success_rate") == [(500, 0.25)]
    assert history(store_uri, run, "eval/smoke/success_rate") == [(500, 0.25)]
    assert [file.path for file in MlflowClient(store_uri).list_artifacts(parent.info.run_id)] == [
        "report.html"
    ]


def _one_child(folder: Path, uri: str, number: int) -> None:
    with RunTracker.for_stage(
        "smoke", stage="demos", folder=folder / str(number), seed=number, uri=uri
    ) as tracker:
        for step in range(10):
            tracker.log_metrics({"m": float(step)}, step)


def test_processes_that_begin_together_share_one_parent(tmp_path: Path, store_uri: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_one_child, args=(tmp_path, store_uri, number)) for number in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    runs = child_runs(store_uri)
    assert len(runs) == 2
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    assert all(len(history(store_uri, run, "m")) == 10 for run in runs)
