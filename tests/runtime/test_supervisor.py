"""The supervisor with real processes: ends, restarts, stalls, failures, and no orphans."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pirl.runtime.supervisor import Supervisor, TrainingFailed

MODULES = {
    "learner_module": "tests.runtime.processes.learner",
    "actor_module": "tests.runtime.processes.actor",
}


def make_run(
    folder: Path, behaviour: str, env_steps: int = 10, actors: int = 1, learner_processes: int = 1
) -> Path:
    path = folder / "run.json"
    settings = {
        "output_dir": str(folder),
        "behaviour": behaviour,
        "actors": actors,
        "learner_processes": learner_processes,
        "budget": {"env_steps": env_steps},
    }
    path.write_text(json.dumps(settings))
    return path


def supervise(folder, behaviour, **options):
    sizes = {
        name: options.pop(name) for name in ("actors", "env_steps", "learner_processes") if name in options
    }
    path = make_run(folder, behaviour, **sizes)
    return Supervisor(path, progress=False, **MODULES, **options).run()


def process_ids(folder: Path) -> list[int]:
    lines = [
        line.split()
        for name in ("learner_starts.txt", "follower_starts.txt", "actor_starts.txt")
        if (folder / name).exists()
        for line in (folder / name).read_text().splitlines()
    ]
    return [int(word) for line in lines for word in line[:2] if word.isdigit()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def assert_no_orphans(folder: Path) -> None:
    deadline = time.monotonic() + 10
    pids = process_ids(folder)
    assert pids
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if is_alive(pid)]


def test_a_run_ends_with_its_summary_and_leaves_nothing_behind(tmp_path):
    summary = supervise(tmp_path, "well", actors=2)
    assert summary["env_steps"] == 10
    assert_no_orphans(tmp_path)


def test_a_learner_that_aborts_once_everything_is_saved_has_finished(tmp_path):
    assert supervise(tmp_path, "abort at the end")["env_steps"] == 10
    assert len((tmp_path / "learner_starts.txt").read_text().splitlines()) == 1


def test_progress_is_that_of_this_run_not_of_an_earlier_one_in_the_same_folder(tmp_path, capsys):
    (tmp_path / "status.json").write_text(json.dumps({"env_steps": 7, "updates": 3, "episodes": 99}))
    Supervisor(make_run(tmp_path, "well"), progress=True, **MODULES).run()
    assert "episodes=99" not in capsys.readouterr().err


def test_the_real_port_reaches_the_actors(tmp_path):
    supervise(tmp_path, "well")
    out = (tmp_path / "actor_starts.txt").read_text()
    assert "--actor_id=0 --incarnation=0" in out


def test_a_killed_learner_is_restarted_on_the_same_port(tmp_path):
    assert supervise(tmp_path, "die once")["env_steps"] == 10
    starts = (tmp_path / "learner_starts.txt").read_text().splitlines()
    assert len(starts) == 2
    assert starts[1].endswith("--transport.port=50123")
    assert_no_orphans(tmp_path)


def test_a_dead_actor_comes_back_under_a_new_incarnation(tmp_path):
    supervise(tmp_path, "actor dies once", env_steps=60)
    assert "--incarnation=1" in (tmp_path / "actor_starts.txt").read_text().splitlines()[1]
    assert_no_orphans(tmp_path)


def test_too_many_deaths_end_the_run_with_the_last_log_lines(tmp_path):
    with pytest.raises(TrainingFailed, match=r"actor_0 ended with 1(.|\n)*no luck"):
        supervise(tmp_path, "actor dies", max_restarts=1, env_steps=300)
    assert not (tmp_path / "train.json").exists()
    assert_no_orphans(tmp_path)


def test_a_learner_killed_while_it_starts_is_started_again(tmp_path):
    assert supervise(tmp_path, "die at start")["env_steps"] == 10
    assert len((tmp_path / "learner_starts.txt").read_text().splitlines()) == 2
    assert_no_orphans(tmp_path)


def test_restarts_are_limited_while_the_learner_starts_too(tmp_path):
    with pytest.raises(TrainingFailed, match="the learner did not start"):
        supervise(tmp_path, "die at start", max_restarts=0)


def test_a_learner_that_does_not_start_is_reported(tmp_path):
    with pytest.raises(TrainingFailed, match="nothing works today"):
        supervise(tmp_path, "refuse")


def test_actors_of_a_run_that_goes_on_get_new_incarnations(tmp_path):
    """Under an incarnation of its own an actor repeats neither episode numbers nor starts."""
    supervise(tmp_path, "well")
    supervise(tmp_path, "well")
    (tmp_path / "checkpoints" / "last").mkdir(parents=True)
    supervise(tmp_path, "well")
    starts = (tmp_path / "actor_starts.txt").read_text().splitlines()
    assert [line.split("--incarnation=")[1] for line in starts] == ["0", "0", "1"]


def test_a_learner_that_stops_on_purpose_is_not_restarted(tmp_path):
    with pytest.raises(TrainingFailed, match="a loss is not finite"):
        supervise(tmp_path, "stop")
    assert len((tmp_path / "learner_starts.txt").read_text().splitlines()) == 1
    assert_no_orphans(tmp_path)


def test_learner_processes_meet_under_one_address(tmp_path):
    assert supervise(tmp_path, "well", learner_processes=3, env_steps=30)["env_steps"] == 30
    followers = [line.split() for line in (tmp_path / "follower_starts.txt").read_text().splitlines()]
    assert len(followers) == 2
    assert {size for _, size, _ in followers} == {"of=3"}
    assert len({port for _, _, port in followers}) == 1
    assert_no_orphans(tmp_path)


def test_all_learner_processes_are_restarted_when_one_dies(tmp_path):
    summary = supervise(tmp_path, "follower dies once", learner_processes=2, env_steps=80, max_restarts=1)
    assert summary["env_steps"] == 80
    for name in ("learner_starts.txt", "follower_starts.txt"):
        assert len((tmp_path / name).read_text().splitlines()) == 2
    assert_no_orphans(tmp_path)


def test_a_lost_learner_process_does_not_hide_why_the_leading_one_stops(tmp_path):
    with pytest.raises(TrainingFailed, match="a loss is not finite"):
        supervise(tmp_path, "stop", learner_processes=2)
    assert len((tmp_path / "learner_starts.txt").read_text().splitlines()) == 1
    assert_no_orphans(tmp_path)


@pytest.mark.parametrize("flags", [["--actors=2", "--learner_processes=2"], ["--actors", "2"]])
def test_overrides_count_for_the_supervisor_too(tmp_path, flags):
    path = make_run(tmp_path, "well", env_steps=30)
    Supervisor(path, flags, progress=False, **MODULES).run()
    assert len((tmp_path / "actor_starts.txt").read_text().splitlines()) == 2
    followers = (tmp_path / "follower_starts.txt").read_text().splitlines()
    assert len(followers) == ("--learner_processes=2" in flags)


def test_a_stall_ends_the_run(tmp_path):
    with pytest.raises(TrainingFailed, match="no environment step and no update for 2 s"):
        supervise(tmp_path, "stall", overrides=["--budget.stall_s=2"])
    assert_no_orphans(tmp_path)


@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGINT], [signal.SIGKILL]]
)
def test_no_orphan_survives_the_supervisor(tmp_path, numbers):
    path = make_run(tmp_path, "well", env_steps=600)
    script = (
        "import sys; from pathlib import Path; from pirl.runtime.supervisor import Supervisor\n"
        f"Supervisor(Path(sys.argv[1]), progress=False, **{MODULES!r}).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (tmp_path / "actor_starts.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    for number in numbers:
        os.kill(process.pid, number)
        time.sleep(0.2)
    process.wait(timeout=60)
    learner_and_actor = [
        int(line.split()[0])
        for name in ("learner_starts.txt", "actor_starts.txt")
        for line in (tmp_path / name).read_text().splitlines()
    ]
    time.sleep(1.0)
    assert not [pid for pid in learner_and_actor if is_alive(pid)]
