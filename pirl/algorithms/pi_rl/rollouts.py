"""On-policy reading of LeRobot's `ReplayBuffer`: complete episodes, in order, each once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lerobot.lerobot_types import BatchType
from lerobot.rl.buffer import ReplayBuffer
from torch import Tensor


@dataclass(frozen=True)
class StoredEpisode:
    """Where one complete episode lies in the buffer."""

    slots: list[int]
    # Of the weights its decisions were made with.
    oldest_version: int
    newest_version: int


class RolloutReader:
    """Follows a buffer's writing position and queues complete episodes.

    Actors send whole episodes, so the transitions of an episode are contiguous; the last one is `done` or
    `truncated`.
    """

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer
        self.dropped = 0
        self._position = 0
        self._open: list[int] = []
        self._episodes: deque[StoredEpisode] = deque()

    def poll(self, oldest_version: float, newest_version: float) -> tuple[int, int]:
        """Take notice of what was added; drop and count what is too old, or of a future that was lost.

        Args:
            oldest_version: episodes begun with older weights are dropped.
            newest_version: episodes with newer weights are, too: a learner that lost its last updates may
                receive what actors did with them.

        Returns:
            Complete unread episodes and their transitions.

        Raises:
            RuntimeError: when unread transitions were overwritten.
        """
        while self.buffer.initialized and self._position != self.buffer.position:
            self._notice(self._position)
            self._position = (self._position + 1) % self.buffer.capacity
        unread = sum(len(episode.slots) for episode in self._episodes) + len(self._open)
        if unread > self.buffer.capacity:
            raise RuntimeError(
                f"buffer.online_capacity: {self.buffer.capacity} transitions cannot hold an update's "
                f"rollouts ({unread} unread); raise it, or lower algorithm.episodes_per_update"
            )
        fresh = deque(
            episode
            for episode in self._episodes
            if oldest_version <= episode.oldest_version and episode.newest_version <= newest_version
        )
        self.dropped += len(self._episodes) - len(fresh)
        self._episodes = fresh
        return len(fresh), sum(len(episode.slots) for episode in fresh)

    def take(self) -> BatchType:
        """All complete unread episodes as one batch, on the buffer's storage device.

        Raises:
            LookupError: when there is none.
        """
        if not self._episodes:
            raise LookupError("no complete rollout is unread; call rollout_ready before update")
        slots = torch.tensor([slot for episode in self._episodes for slot in episode.slots])
        self._episodes.clear()
        buffer = self.buffer
        return {
            "state": {key: value[slots] for key, value in buffer.states.items()},
            "action": buffer.actions[slots],
            "reward": buffer.rewards[slots],
            "next_state": self._next_states(slots),
            "done": buffer.dones[slots].float(),
            "truncated": buffer.truncateds[slots].float(),
            "complementary_info": {key: value[slots] for key, value in buffer.complementary_info.items()},
        }

    def _next_states(self, slots: Tensor) -> dict[str, Tensor]:
        # With optimize_memory, LeRobot keeps no next states: the following slot holds them.
        source = (slots + 1) % self.buffer.capacity if self.buffer.optimize_memory else slots
        return {key: value[source] for key, value in self.buffer.next_states.items()}

    def _notice(self, slot: int) -> None:
        self._open.append(slot)
        if bool(self.buffer.dones[slot]) or bool(self.buffer.truncateds[slot]):
            versions = self.buffer.complementary_info["policy_version"][self._open]
            self._episodes.append(StoredEpisode(self._open, int(versions.min()), int(versions.max())))
            self._open = []


class RolloutIterator:
    """What the trainer iterates over: each `next` is the whole on-policy batch of one update."""

    def __init__(self, reader: RolloutReader, poll: Callable[[], object]) -> None:
        self._reader = reader
        self._poll = poll

    def __iter__(self) -> RolloutIterator:
        return self

    def __next__(self) -> BatchType:
        self._poll()
        return self._reader.take()


def start_groups(batch: BatchType, episode_end: Tensor) -> Tensor:
    """Group of each episode for GRPO: episodes whose first proprioceptive state is bit-equal, int64 [E].

    Raises:
        ValueError: when the policy takes no proprioception to compare.
    """
    states = batch["state"].get("observation.state")
    if states is None:
        raise ValueError(
            "algorithm.advantage: 'grpo' groups episodes by observation.state, which is missing; use gae"
        )
    begins = torch.cat([torch.zeros(1, dtype=torch.long), episode_end.nonzero().flatten().cpu()[:-1] + 1])
    return torch.unique(states[begins].flatten(1), dim=0, return_inverse=True)[1]
