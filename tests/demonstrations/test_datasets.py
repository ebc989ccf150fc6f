"""A data set is written whole, read by stock LeRobot, converted exactly, and refused when damaged."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from lerobot.datasets import LeRobotDataset

from pirl.demonstrations.datasets import SIDECAR, DatasetError, check_dataset, convert_dataset, write_dataset
from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.hub import hub_episodes
from pirl.demonstrations.layouts import libero_to_xvla_action
from pirl.envs.starts import Start


def make_episode(seed: int, length: int = 5, success: bool = True) -> Episode:
    """An episode of random numbers: the writer must not care what they mean."""
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (length, 16, 24, 3), dtype=np.uint8) for name in ("image", "image2")}
    actions = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
    actions[:, 6] = np.sign(actions[:, 6])
    return Episode(
        "libero_object",
        0,
        "pick up the alphabet soup and place it in the basket",
        Start("sampled", 0, seed),
        images,
        rng.normal(size=(length, 8)).astype(np.float32),
        actions,
        success,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data set of three episodes, and the episodes."""
    root = tmp_path_factory.mktemp("demos") / "libero"
    episodes = [make_episode(seed, length=4 + seed) for seed in range(3)]
    write_dataset(episodes, root, "libero", {"suite": "libero_object"})
    return root, episodes


def test_stock_lerobot_reads_every_frame_unchanged(written):
    root, episodes = written
    dataset = LeRobotDataset(root.name, root=root)
    assert dataset.num_episodes == 3
    index = 0
    for number, episode in enumerate(episodes):
        for frame in range(episode.length):
            row = dataset[index]
            assert row["episode_index"] == number
            assert row["task"] == episode.language
            np.testing.assert_array_equal(row["action"], episode.actions[frame])
            np.testing.assert_array_equal(row["observation.state"], episode.states[frame])
            image = (row["observation.images.image2"] * 255).round().to(torch.uint8).permute(1, 2, 0)
            np.testing.assert_array_equal(image, episode.images["image2"][frame])
            index += 1
    assert index == len(dataset)


def test_sidecar_says_where_each_episode_began(written):
    root, episodes = written
    records = check_dataset(root)
    assert [record["length"] for record in records] == [4, 5, 6]
    assert Start.from_dict(records[2]["start"]) == episodes[2].start
    assert all(record["success"] and record["suite"] == "libero_object" for record in records)


def test_conversion_keeps_every_frame(written, tmp_path):
    root, episodes = written
    convert_dataset(root, tmp_path / "xvla")
    dataset = LeRobotDataset("xvla", root=tmp_path / "xvla")
    assert dataset.features["observation.state"]["shape"] == (20,)
    np.testing.assert_allclose(dataset[0]["action"], libero_to_xvla_action(episodes[0].actions[0]), atol=1e-7)
    with pytest.raises(FileExistsError, match="delete it"):
        convert_dataset(root, tmp_path / "xvla")
    with pytest.raises(DatasetError, match="only the canonical 'libero' layout"):
        convert_dataset(tmp_path / "xvla", tmp_path / "again")


def test_a_hub_data_set_is_cut_to_the_asked_tasks(written, tmp_path):
    from pirl.demonstrations.cli import DemosConfig

    root, episodes = written
    config = DemosConfig(tmp_path, task_ids=[0], episodes=2, cameras=["agentview"], height=16, width=24)
    taken = list(hub_episodes(root.name, config, root))
    assert [episode.length for episode in taken] == [4, 5]
    np.testing.assert_array_equal(taken[1].images["image"], episodes[1].images["image"])
    config.task_ids = [1]
    with pytest.raises(DatasetError, match="has 0 episodes of 'pick up the cream cheese"):
        list(hub_episodes(root.name, config, root))


def test_a_failure_is_never_written(tmp_path):
    with pytest.raises(DatasetError, match="episode 1 did not succeed"):
        write_dataset([make_episode(0), make_episode(1, success=False)], tmp_path / "d", "libero", {})
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: next(root.glob("data/*/*.parquet")).write_bytes(b"PAR1 torn"),
            "episode 0 cannot be read",
        ),
        (lambda root: next(root.glob("data/*/*.parquet")).unlink(), "episode 0 cannot be read"),
        (lambda root: _edit_sidecar(root, lambda lines: lines[:2]), "episode 2 is missing"),
        (
            lambda root: _edit_sidecar(root, lambda lines: [lines[0], _relabel(lines[1]), lines[2]]),
            "episode 1",
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    root = tmp_path / "d"
    write_dataset([make_episode(seed) for seed in range(3)], root, "libero", {})
    damage(root)
    with pytest.raises(DatasetError, match=message):
        check_dataset(root)


def _edit_sidecar(root, edit):
    path = root / SIDECAR
    path.write_text("".join(f"{line}\n" for line in edit(path.read_text().splitlines())))


def _relabel(line):
    return json.dumps({**json.loads(line), "length": 99})


def test_a_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="record it with pirl-demos"):
        check_dataset(tmp_path)


def test_an_episode_file_comes_back_or_is_named(tmp_path):
    path = tmp_path / "episode.npz"
    episode = make_episode(3)
    episode.save(path)
    loaded = Episode.load(path)
    assert loaded.record() == episode.record()
    np.testing.assert_array_equal(loaded.images["image"], episode.images["image"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"episode\.npz: damaged episode"):
        Episode.load(path)
    assert not dataclasses.replace(episode, success=False).record()["success"]
