"""A real run whose processes are killed at random moments ends with the right counts and no orphans."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS, BUDGET = 20, 4000
SUPERVISE = (
    "import sys; from pathlib import Path; from pirl.runtime.supervisor import Supervisor\n"
    "Supervisor(Path(sys.argv[1]), progress=False, max_restarts=int(sys.argv[2])).run()"
)


def run_file(folder: Path, policy: Path) -> Path:
    """Two actors with one worker each, short episodes, many checkpoints."""
    settings = {
        "recipe": "pi_rl_flow_sde",
        "output_dir": str(folder / "run"),
        "seed": 0,
        "actors": 2,
        "env": {
            "type": "libero",
            "task": "libero_object",
            "observation_height": 32,
            "observation_width": 32,
            "camera_name": "agentview_image,robot0_eye_in_hand_image",
        },
        "policy": {"path": str(policy)},
        "algorithm": {"type": "pi_rl", "episodes_per_update": 4, "epochs": 1, "critic_warmup_epochs": 1},
        "rollout": {"task_ids": [0], "chunk_size": 4, "max_steps": 16, "workers": 1},
        "budget": {"env_steps": BUDGET, "checkpoints": 100},
    }
    path = folder / "run.json"
    path.write_text(json.dumps(settings))
    return path


def descendants(root: int) -> list[int]:
    """All processes below `root`, from /proc."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, frontier = [], [root]
    while frontier:
        frontier = [pid for pid, parent in parents.items() if parent in frontier]
        found += frontier
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def env_steps(folder: Path) -> int:
    try:
        return json.loads((folder / "run" / "status.json").read_text())["env_steps"]
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def supervise(path: Path, log: Path) -> subprocess.Popen:
    with open(log, "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(path), "200"], stdout=output, stderr=subprocess.STDOUT
        )


def test_twenty_kills_in_one_run(tmp_path, start_policy):
    path, generator = run_file(tmp_path, start_policy), random.Random(0)
    supervisor = supervise(path, tmp_path / "supervisor.log")
    killed = supervisors = 0
    seen: set[int] = set()
    while supervisor.poll() is None or killed < KILLS:
        assert supervisor.poll() in (None, -signal.SIGKILL), (tmp_path / "supervisor.log").read_text()
        if supervisor.poll() is not None:
            supervisor = supervise(path, tmp_path / "supervisor.log")
        time.sleep(generator.uniform(2.0, 12.0))
        below = descendants(supervisor.pid)
        if not below:
            continue  # still importing, or at its end
        seen |= set(below)
        if killed >= KILLS or env_steps(tmp_path) > 0.8 * BUDGET:
            if killed < KILLS:
                pytest.fail(f"the run was nearly over after {killed} kills; give it a larger budget")
            supervisor.wait(timeout=1800)
            break
        victim = (
            generator.choice([supervisor.pid, *below, *below]) if supervisors < 3 else generator.choice(below)
        )
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended by itself meanwhile
        supervisors += victim == supervisor.pid
        killed += 1

    assert supervisor.returncode == 0, (tmp_path / "supervisor.log").read_text()
    summary = json.loads((tmp_path / "run" / "train.json").read_text())
    assert summary["env_steps"] >= BUDGET
    assert summary["repeated_episodes"] == summary["missing_episodes"] == 0
    assert summary["refused_messages"] == 0
    steps = [point["env_steps"] for point in summary["curve"]]
    assert steps == sorted(set(steps))
    updates = [line["updates"] for line in summary["metrics"]]
    assert updates == list(range(1, len(updates) + 1))
    time.sleep(5.0)
    assert not [pid for pid in seen | set(descendants(os.getpid())) if is_alive(pid)]
