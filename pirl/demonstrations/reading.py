"""Reading LeRobotDatasets without decoding what nobody asked for."""

from __future__ import annotations

import datasets
import torch
from lerobot.datasets import lerobot_dataset
from lerobot.datasets.dataset_reader import DatasetReader
from torch import Tensor


class ColumnReader(DatasetReader):
    """Reads the steps of an action chunk from their own column.

    LeRobot's reader takes whole rows and drops all else: with pictures in the table, a chunk of H actions
    decodes H pictures per camera, which takes longer than all the rest of a frame.
    """

    _table: datasets.Dataset | None = None
    _columns: dict[str, datasets.Dataset]

    def _query_hf_dataset(self, query_indices: dict[str, list[int]]) -> dict[str, Tensor]:
        assert self.hf_dataset is not None
        if self._table is not self.hf_dataset:
            self._table, self._columns = self.hf_dataset, {}
        result = {}
        for key, absolute in query_indices.items():
            if key in self._meta.video_keys:
                continue
            if key not in self._columns:
                self._columns[key] = self._table.select_columns([key])
            moved = self._absolute_to_relative_idx
            rows = absolute if moved is None else [moved[index] for index in absolute]
            result[key] = torch.stack(self._columns[key][rows][key])
        return result


def read_by_column() -> None:
    """Let every LeRobotDataset that this process opens, and those it sends to data workers, read so."""
    lerobot_dataset.DatasetReader = ColumnReader  # type: ignore[misc]
