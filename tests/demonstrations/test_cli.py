"""`pirl-demos` on the real simulator: records, resumes, refuses."""

import shutil

import numpy as np
import pytest

from pirl.demonstrations.cli import DemosConfig, main, make_demonstrations
from pirl.demonstrations.datasets import check_dataset
from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.recording import RecordingError

FLAGS = [
    "--suite",
    "libero_object",
    "--task_ids",
    "[0]",
    "--episodes",
    "2",
    "--height",
    "32",
    "--width",
    "32",
]
FLAGS += ["--cameras", "[agentview]", "--seed", "1000000", "--fidelity", "fast"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Folder of a data set recorded through the command line."""
    out = tmp_path_factory.mktemp("demos") / "libero_object"
    assert main([*FLAGS, "--out", str(out), "--workers", "2"]) == 0
    return out


def test_records_the_asked_episodes(recorded):
    records = check_dataset(recorded)
    assert [record["seed"] for record in records] == [1_000_000, 1_000_008]
    assert all(record["start"]["kind"] == "sampled" and record["success"] for record in records)
    assert not recorded.with_name("libero_object.partial").exists()


def test_asking_again_changes_nothing(recorded, capsys):
    before = (recorded / "meta" / "info.json").stat().st_mtime_ns
    assert main([*FLAGS, "--out", str(recorded)]) == 0
    assert (recorded / "meta" / "info.json").stat().st_mtime_ns == before
    assert main([*FLAGS, "--out", str(recorded), "--action_noise", "0.1"]) == 1
    assert "recorded with other settings (action_noise)" in capsys.readouterr().err


def test_an_interrupted_recording_goes_on_and_gives_the_same_data(recorded, tmp_path):
    out = tmp_path / "libero_object"
    partial = tmp_path / "libero_object.partial"
    config = DemosConfig(
        out,
        task_ids=[0],
        episodes=2,
        cameras=["agentview"],
        height=32,
        width=32,
        seed=1_000_000,
        fidelity="fast",
    )
    from pirl.demonstrations.datasets import read_episodes
    from pirl.demonstrations.recording import record

    first, second = read_episodes(recorded)
    partial.mkdir()
    first.save(config.recording().jobs()[0].path(partial))
    (partial / "task00_episode00001.tmp").write_bytes(b"torn by a crash")
    tally = record(config.recording(), partial, workers=2)
    assert tally.recorded == 1
    again = Episode.load(config.recording().jobs()[1].path(partial))
    np.testing.assert_array_equal(again.actions, second.actions)
    np.testing.assert_array_equal(again.images["image"], second.images["image"])
    config.seed = 5
    with pytest.raises(RecordingError, match="unfinished recording with other settings"):
        make_demonstrations(config)
    shutil.rmtree(partial)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--suite", "libero_moon"], "libero_moon"),
        (["--task_ids", "[10]"], "10"),
        (["--starts", "random"], "--starts: 'random' is not one of sampled, wide, official"),
        (["--cameras", "[sideview]"], "--cameras: unknown sideview"),
        (["--layout", "rlds"], "--layout: 'rlds' is not one of libero, xvla"),
        (["--episodes", "0"], "--episodes: 0 is less than 1"),
    ],
)
def test_bad_flags_end_in_one_line(tmp_path, capsys, flags, message):
    assert main(["--out", str(tmp_path / "d"), *flags]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "d").exists()
