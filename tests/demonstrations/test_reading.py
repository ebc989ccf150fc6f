"""Reading by column gives what LeRobot reads, and decodes no picture in vain."""

import datasets
import pytest
import torch
from lerobot.datasets import LeRobotDataset, lerobot_dataset

from pirl.demonstrations.datasets import write_dataset
from pirl.demonstrations.reading import ColumnReader, read_by_column
from tests.demonstrations.test_datasets import make_episode

CHUNK = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("reading") / "libero"
    write_dataset(
        [make_episode(seed, length=4 + seed) for seed in range(3)], root, "libero", {"suite": "libero_object"}
    )
    return root


@pytest.fixture
def open_dataset(root, monkeypatch):
    # Undone after the test: only the process of a stock command reads so.
    monkeypatch.setattr(lerobot_dataset, "DatasetReader", lerobot_dataset.DatasetReader)

    def open_dataset(**settings) -> LeRobotDataset:
        chunk = {"action": [step / 20 for step in range(CHUNK)]}
        return LeRobotDataset(root.name, root=root, delta_timestamps=chunk, **settings)

    return open_dataset


@pytest.mark.parametrize("episodes", [None, [2, 1]])
def test_frames_are_those_that_lerobot_reads(open_dataset, episodes):
    theirs = open_dataset(episodes=episodes)
    read_by_column()
    ours = open_dataset(episodes=episodes)
    assert isinstance(ours.reader, ColumnReader) and not isinstance(theirs.reader, ColumnReader)
    assert len(ours) == len(theirs) > 0
    for index in range(len(theirs)):
        expected, frame = theirs[index], ours[index]
        assert expected.keys() == frame.keys()
        for key, value in expected.items():
            assert torch.equal(frame[key], value) if torch.is_tensor(value) else frame[key] == value


def test_a_chunk_of_actions_decodes_the_pictures_of_its_first_step_alone(open_dataset, monkeypatch):
    decoded = []
    decode = datasets.Image.decode_example
    monkeypatch.setattr(
        datasets.Image,
        "decode_example",
        lambda self, *args, **kw: (decoded.append(1), decode(self, *args, **kw))[1],
    )
    counts = []
    for prepare in (lambda: None, read_by_column):
        prepare()
        dataset = open_dataset()
        dataset[0]
        counts.append(len(decoded))
        decoded.clear()
    assert counts[1] == 2 < counts[0]


def test_data_workers_read_so_too(open_dataset):
    read_by_column()
    dataset = open_dataset()
    loader = torch.utils.data.DataLoader(dataset, 4, num_workers=1, multiprocessing_context="spawn")
    batches = list(loader)
    assert sum(len(batch["action"]) for batch in batches) == len(dataset)
    assert batches[0]["action"].shape == (4, CHUNK, 7)
    torch.testing.assert_close(batches[0]["action"][0], dataset[0]["action"])
