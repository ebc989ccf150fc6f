"""Demonstrations as LeRobotDataset v3 folders: write, check, convert."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as parquet

from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.layouts import CAMERAS, FPS, features, to_layout
from pirl.envs.starts import Start
from pirl.files import read_json_lines, write_json_atomically, write_text_atomically

IMAGES = "observation.images."
SIDECAR = Path("meta/episodes.jsonl")
"""Per episode: suite, task_id, language, start, seed, success, length."""
SETTINGS = Path("meta/demonstrations.json")
"""How the data set was made: recording settings and layout."""


class DatasetError(ValueError):
    """A data set is missing, damaged or incomplete; the message names the folder and the episode."""


def write_dataset(
    episodes: Iterable[Episode],
    root: Path,
    layout: str,
    settings: dict[str, Any],
    control_mode: str = "relative",
) -> None:
    """Write episodes as a LeRobotDataset (lossless PNG images); the folder appears only when complete.

    Args:
        episodes: In the order of the data set.
        root: The new folder.
        layout: "libero" or "xvla".
        settings: How the episodes were made; kept in SETTINGS.
        control_mode: "relative" or "absolute", of the data set's actions.

    Raises:
        DatasetError: If an episode did not succeed, or there is none.
        FileExistsError: If `root` exists.
    """

    def columns() -> Iterator[Columns]:
        for number, episode in enumerate(episodes):
            if not episode.success:
                raise DatasetError(f"{root}: episode {number} did not succeed and is no demonstration")
            yield Columns(
                to_layout(layout, episode.images, episode.states, episode.actions, control_mode),
                episode.language,
                episode.record(),
            )

    write_columns(columns(), root, layout, {**settings, "layout": layout, "control_mode": control_mode})


class Columns(NamedTuple):
    """One episode of a data set: its columns [T, ...], instruction and what the sidecar says of it."""

    columns: dict[str, np.ndarray]
    language: str
    record: dict[str, Any]


def write_columns(episodes: Iterable[Columns], root: Path, layout: str, settings: dict[str, Any]) -> None:
    """Write episodes that are in a layout already; the folder appears only when complete.

    Raises:
        DatasetError: If there is no episode.
        FileExistsError: If `root` exists.
    """
    from datasets import disable_progress_bars
    from lerobot.datasets import LeRobotDataset

    if root.exists():
        raise FileExistsError(f"{root} exists; delete it or choose another --out")
    partial = root.with_name(f".{root.name}.writing")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    dataset, records = None, []
    for number, (columns, language, record) in enumerate(episodes):
        if dataset is None:
            images = {camera: columns[f"{IMAGES}{name}"] for camera, name in CAMERAS.items()
                      if f"{IMAGES}{name}" in columns}  # fmt: skip
            height, width = next(iter(images.values())).shape[1:3]
            dataset = LeRobotDataset.create(
                repo_id=root.name,
                fps=FPS,
                features=features(layout, list(images), height, width),
                root=partial,
                robot_type="panda",
                use_videos=False,
                video_backend="pyav",  # none is decoded; naming one spares a search for codecs
            )
        for frame in range(len(columns["action"])):
            dataset.add_frame(
                {key: np.ascontiguousarray(rows[frame]) for key, rows in columns.items()} | {"task": language}
            )
        disable_progress_bars()  # LeRobot switches them on again
        dataset.save_episode()
        records.append({"episode_index": number, **record})
    if dataset is None:
        raise DatasetError(f"{root}: there is no episode to write")
    dataset.finalize()
    shutil.rmtree(partial / "images", ignore_errors=True)
    write_text_atomically(partial / SIDECAR, "".join(json.dumps(record) + "\n" for record in records))
    write_json_atomically(partial / SETTINGS, settings)
    os.rename(partial, root)


def check_dataset(root: Path, progress: Callable[[int], None] = lambda _: None) -> list[dict[str, Any]]:
    """Check that every episode of a demonstration data set is there, whole and a success.

    Returns:
        The sidecar's records.

    Raises:
        DatasetError: Naming the folder and the first bad episode.
    """
    if not (root / "meta" / "info.json").is_file():
        raise DatasetError(
            f"{root} holds no LeRobotDataset (meta/info.json is missing); record it with pirl-demos"
        )
    info = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
    records = read_json_lines(root / SIDECAR)
    if len(records) != info["total_episodes"]:
        raise DatasetError(
            f"{root / SIDECAR}: {len(records)} episodes, but meta/info.json counts {info['total_episodes']};"
            f" episode {len(records)} is missing; delete {root} and record again"
        )
    index = _episode_index(root)
    for number, record in enumerate(records):
        _check_episode(root, info, index, number, record)
        progress(number)
    return records


def _episode_index(root: Path) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for file in sorted((root / "meta" / "episodes").rglob("*.parquet")):
        try:
            table = parquet.read_table(file, columns=wanted)
        except Exception as error:
            raise DatasetError(f"{file}: unreadable ({error}); delete {root} and record again") from error
        rows |= {row["episode_index"]: row for row in table.to_pylist()}
    return rows


def _check_episode(
    root: Path, info: dict[str, Any], index: dict[int, dict[str, Any]], number: int, record: dict[str, Any]
) -> None:
    def bad(what: str) -> DatasetError:
        return DatasetError(f"{root}: episode {number} {what}; delete {root} and record again")

    if number not in index:
        raise bad("is missing from meta/episodes")
    if not record["success"]:
        raise bad("is marked as a failure")
    row = index[number]
    file = root / info["data_path"].format(
        chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
    )
    images = [key for key, feature in info["features"].items() if feature["dtype"] == "image"]
    try:
        table = parquet.read_table(file, filters=[("episode_index", "==", number)])
    except Exception as error:
        raise bad(f"cannot be read from {file.relative_to(root)} ({error})") from error
    if not table.num_rows == row["length"] == record["length"]:
        raise bad(f"has {table.num_rows} frames instead of {record['length']}")
    for key in images:
        if any(not cell["bytes"] for cell in table.column(key).to_pylist()):
            raise bad(f"lacks frames of {key}")
    for key in ("observation.state", "action"):
        values = np.stack(table.column(key).to_pylist())
        if not np.isfinite(values).all():
            raise bad(f"holds a number that is not finite in {key}")


def read_episodes(root: Path) -> Iterator[Episode]:
    """The episodes of a data set in the `libero` layout, in order.

    Raises:
        DatasetError: If the data set is damaged or has another layout.
    """
    from lerobot.datasets import LeRobotDataset

    records = check_dataset(root)
    layout = json.loads((root / SETTINGS).read_text(encoding="utf-8"))["layout"]
    if layout != "libero":
        raise DatasetError(
            f"{root} has layout '{layout}'; only the canonical 'libero' layout can be converted"
        )
    dataset = LeRobotDataset(root.name, root=root, video_backend="pyav")
    first = 0
    for record in records:
        frames = [dataset[index] for index in range(first, first + record["length"])]
        first += record["length"]
        yield Episode(
            record["suite"],
            record["task_id"],
            record["language"],
            Start.from_dict(record["start"]) if record["start"] else None,
            {
                key.rpartition(".")[2]: np.stack([_as_uint8(frame[key]) for frame in frames])
                for key in dataset.meta.image_keys
            },
            np.stack([frame["observation.state"].numpy() for frame in frames]),
            np.stack([frame["action"].numpy() for frame in frames]),
            record["success"],
        )


def _as_uint8(image: Any) -> np.ndarray:
    """(3, H, W) floats in [0, 1], exact multiples of 1/255 -> (H, W, 3) uint8."""
    return (image.permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)


def convert_dataset(
    source: Path, destination: Path, layout: str = "xvla", control_mode: str = "relative"
) -> None:
    """Write a data set of the `libero` layout in another layout, frame by frame the same.

    Raises:
        DatasetError: If `source` is damaged; the episode is named.
        FileExistsError: If `destination` exists.
    """
    if destination.exists():
        raise FileExistsError(f"{destination} exists; delete it or choose another folder")
    check_dataset(source)
    settings = json.loads((source / SETTINGS).read_text(encoding="utf-8"))
    write_dataset(read_episodes(source), destination, layout, settings, control_mode)
