"""What the policy should have done, decision by decision, and where that is looked up."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pirl.algorithms.pi_rl.batch import UpdateBatch
from pirl.algorithms.processes import Pass
from pirl.policies.flow_policy import Context


class Lesson(NamedTuple):
    """What the policy should have done in one update's decisions."""

    batch: UpdateBatch  # the decisions that were made, N of them
    actions: Tensor  # better ones in policy space, [N, H, D]
    stakes: Tensor  # how far the critic tells apart what could have been done, [N]


class Lessons:
    """Those of several updates as one, so that a minibatch of theirs is one forward pass.

    Attributes:
        lessons: one per update, the latest last.
        numbers: of all decisions, [N]; such that each stays with the process that keeps its encoding, so some
            are left out where an update's decisions do not go round evenly.
        stakes: of all decisions, [N].
    """

    def __init__(self, lessons: list[Lesson]) -> None:
        """Number the decisions of at least one update."""
        self.lessons = lessons
        self.latest = lessons[-1].batch
        self._firsts: list[int] = []
        first, count = 0, self.latest.processes.count
        for lesson in lessons:
            self._firsts.append(first)
            first += math.ceil(lesson.batch.size / count) * count
        sizes = [lesson.batch.size for lesson in lessons]
        parts = [first + torch.arange(size) for first, size in zip(self._firsts, sizes, strict=True)]
        self.numbers = torch.cat(parts).to(self.latest.device)
        self.stakes = torch.cat([lesson.stakes for lesson in lessons])

    def passes(self, rows: Tensor) -> list[Pass]:
        """This process's forward passes over some decisions; the earliest update's serve to keep step."""
        earliest, latest = self.lessons[0].batch, self.latest
        return latest.processes.passes(rows, latest.micro_batch_size, earliest.size)

    def look_up(self, rows: Tensor) -> tuple[Context, Tensor]:
        """Encoded observations [B, ...] and better actions [B, H, D] of some decisions, update by update."""
        contexts, actions = [], []
        for first, lesson in zip(self._firsts, self.lessons, strict=True):
            theirs = rows[(rows >= first) & (rows < first + lesson.batch.size)] - first
            if len(theirs):
                contexts.append(lesson.batch.context(theirs))
                actions.append(lesson.actions[theirs])
        return {key: torch.cat([c[key] for c in contexts]) for key in contexts[0]}, torch.cat(actions)
