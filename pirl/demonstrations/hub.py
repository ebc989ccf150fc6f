"""Demonstrations from a LeRobot data set of the hub, cut down to the tasks and images of an experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pirl.demonstrations.datasets import DatasetError, write_dataset
from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.layouts import CAMERAS

if TYPE_CHECKING:
    from pirl.demonstrations.cli import DemosConfig


def fetch_demonstrations(repo_id: str, config: DemosConfig, root: Path | None = None) -> None:
    """Write the first `config.episodes` hub episodes of each task as a data set of the `libero` layout.

    Args:
        repo_id: Data set in the layout of `HuggingFaceVLA/libero`.
        config: Tasks, episodes per task, cameras and image size; nothing is recorded.
        root: The data set's local folder, if it is there already.

    Raises:
        DatasetError: If the data set cannot be had, or lacks a task.
    """
    if config.out.exists():
        return
    recording = config.recording()
    settings = {**json.loads(json.dumps(asdict(recording))), "hub_dataset": repo_id}
    write_dataset(
        hub_episodes(repo_id, config, root), config.out, config.layout, settings, config.control_mode
    )


def hub_episodes(repo_id: str, config: DemosConfig, root: Path | None = None) -> Iterator[Episode]:
    """The chosen episodes, task by task; their initial states are unknown."""
    from lerobot.datasets import LeRobotDataset, LeRobotDatasetMetadata

    from pirl.envs.tasks import get_task

    try:
        meta = LeRobotDatasetMetadata(repo_id, root=root)
    except Exception as error:
        raise DatasetError(
            f"demos.hub_dataset: {repo_id} cannot be loaded ({error}); is the hub reachable?"
            " Otherwise set demos.source: scripted"
        ) from error
    for task_id in config.recording().task_ids:
        language = get_task(config.suite, task_id).language
        numbers = [number for number, episode in enumerate(meta.episodes) if language in episode["tasks"]][
            : config.episodes
        ]
        if len(numbers) < config.episodes:
            raise DatasetError(
                f"{repo_id} has {len(numbers)} episodes of '{language}', {config.episodes} are asked for"
            )
        for number in numbers:
            dataset = LeRobotDataset(repo_id, root=root, episodes=[number], video_backend="pyav")
            frames = [dataset[index] for index in range(len(dataset))]
            yield Episode(
                config.suite,
                task_id,
                language,
                None,
                {
                    CAMERAS[camera]: np.stack(
                        [
                            _resize(
                                frame[f"observation.images.{CAMERAS[camera]}"], config.height, config.width
                            )
                            for frame in frames
                        ]
                    )
                    for camera in config.cameras
                },
                np.stack([frame["observation.state"].numpy() for frame in frames]),
                np.stack([frame["action"].numpy() for frame in frames]),
                success=True,
            )


def _resize(image, height: int, width: int) -> np.ndarray:
    """(3, H, W) floats in [0, 1] -> (height, width, 3) uint8."""
    pixels = (image.permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
