"""Pointing data: the object is where the action says, in a data set that LeRobot reads."""

import dataclasses
import json

import numpy as np
import pytest
from lerobot.datasets import LeRobotDataset

from pirl.demonstrations.datasets import SIDECAR
from pirl.demonstrations.pointing import Pointing, _draw_scene, _open, write_pointing
from pirl.demonstrations.postures import Hand, expert_postures
from pirl.envs.expert.scene import Scene
from pirl.envs.expert.skills import holding
from pirl.envs.starts import Start
from pirl.files import read_json_lines

POINTING = Pointing(
    "libero_object", (0, 3), 2, 3, 7, ("agentview", "robot0_eye_in_hand"), height=32, width=32
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("pointing") / "xvla"
    write_pointing(POINTING, root, workers=2)
    return root


def test_every_scene_is_an_episode_with_one_place_and_several_postures(root):
    dataset = LeRobotDataset("pointing", root=root, video_backend="pyav")
    assert dataset.meta.total_episodes == 4 and len(dataset) == 12
    for episode in range(4):
        frames = [dataset[3 * episode + i] for i in range(3)]
        actions = np.stack([frame["action"].numpy() for frame in frames])
        assert actions.shape == (3, 10) and (actions == actions[0]).all()
        # On the table, and within reach.
        assert -0.4 < actions[0, 0] < 0.4 and -0.4 < actions[0, 1] < 0.4 and 0 < actions[0, 2] < 0.3
        hands = np.stack([frame["observation.state"][:3].numpy() for frame in frames])
        assert np.ptp(hands, axis=0).max() > 0.01
        for key in ("observation.images.image", "observation.images.image2"):
            assert frames[0][key].shape == (3, 32, 32)
            assert not np.array_equal(frames[0][key].numpy(), frames[1][key].numpy())


def test_a_holding_hand_points_at_the_destination_and_any_other_at_the_object():
    simulation = _open(POINTING, 0)
    postures = expert_postures(simulation, 3)
    seen = set()
    for seed in range(12):
        start, rng = Start("sampled", seed=seed), np.random.default_rng(seed)
        columns = _draw_scene(POINTING, simulation, start, postures, rng)
        (action, *_) = columns["action"]
        scene = Scene(simulation)
        (_, thing, place) = scene.goals[0]
        if action[9]:
            np.testing.assert_allclose(action[:3], scene.position(place), atol=1e-6)
            assert holding(scene, thing)
        else:
            np.testing.assert_allclose(action[:3], scene.position(thing), atol=1e-6)
        seen.add((float(action[9]), scene.finger_gap < 0.01))
    # The object in the hand; hand open; hand closed and empty.
    assert seen == {(1.0, False), (0.0, False), (0.0, True)}


def test_half_of_the_frames_are_seen_from_near():
    simulation = _open(POINTING, 0)
    postures = expert_postures(simulation, 3)
    pointing = dataclasses.replace(POINTING, frames=20)
    shares = []
    for seed in range(8):
        columns = _draw_scene(
            pointing, simulation, Start("sampled", seed=seed), postures, np.random.default_rng(seed)
        )
        hand = Hand.HOLDING if columns["action"][0, 9] else Hand.OPEN
        nearest = np.linalg.norm([p.offset for p in postures[hand][: len(postures[hand]) // 3]], axis=1)
        places = columns["action"][:, :3] - columns["observation.state"][:, :3]
        shares.append(np.mean(np.linalg.norm(places, axis=1) < nearest.max() + 0.03))
    # The near half, most of it, and a share of the rest.
    assert 0.5 < np.mean(shares) < 0.85


def test_scenes_differ_and_records_say_which(root):
    dataset = LeRobotDataset("pointing", root=root, video_backend="pyav")
    places = np.stack([dataset[3 * episode]["action"].numpy()[:3] for episode in range(4)])
    assert len(np.unique(places, axis=0)) == 4
    records = read_json_lines(root / SIDECAR)
    assert [record["task_id"] for record in records] == [0, 0, 3, 3]
    assert records[0]["start"] == {"kind": "sampled", "index": 0, "seed": 7}
    assert json.loads((root / "meta" / "demonstrations.json").read_text())["pointing"]["scenes"] == 2


def test_the_same_settings_draw_the_same_scenes(root, tmp_path):
    write_pointing(POINTING, tmp_path / "xvla", workers=1)
    ours, theirs = (
        LeRobotDataset("pointing", root=r, video_backend="pyav") for r in (root, tmp_path / "xvla")
    )
    for index in (0, 5, 11):
        for key in ("action", "observation.state", "observation.images.image2"):
            np.testing.assert_array_equal(ours[index][key].numpy(), theirs[index][key].numpy())


def test_an_existing_folder_is_kept(root):
    with pytest.raises(FileExistsError, match="exists"):
        write_pointing(POINTING, root, workers=1)
