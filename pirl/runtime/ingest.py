"""The learner's intake: from received bytes to the replay buffer, counting every episode once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, Queue

from lerobot.rl.buffer import ReplayBuffer
from lerobot.utils.transition import Transition

from pirl.runtime.configuration import EPISODES_PER_INCARNATION
from pirl.runtime.messages import MessageError, NotFiniteError, decode_interaction, decode_transitions
from pirl.runtime.schema import TransitionSchema

# Episodes taken at once: fast actors refill the queue while it is emptied, and updates must have their turn.
TAKE_AT_MOST = 64


@dataclass
class IntakeCounters:
    """What has arrived so far."""

    env_steps: int = 0
    episodes: int = 0
    successes: int = 0
    transitions: int = 0
    refused_messages: int = 0
    repeated_episodes: int = 0
    not_finite_episodes: int = 0
    not_finite_updates: int = 0
    # Outcomes of the latest episodes, for the windowed rollout success.
    recent: list[bool] = field(default_factory=list)


class NotFiniteStop(RuntimeError):
    """NaN or infinity appeared in a run that is to stop at it."""


@dataclass
class Intake:
    """Moves transitions from the transport's queues into the buffer.

    What does not fit `schema` is refused and counted; so are NaN and infinity, unless `not_finite` is `stop`.
    Every episode carries the actor's id and its own running number, so repeats are dropped and counted.
    """

    transition_queue: Queue
    interaction_queue: Queue
    buffer: ReplayBuffer
    schema: TransitionSchema | None = None
    window: int = 50
    not_finite: str = "skip"
    counters: IntakeCounters = field(default_factory=IntakeCounters)
    _seen: dict[int, set[int]] = field(default_factory=dict)
    actor_totals: dict[int, dict[str, float]] = field(default_factory=dict)
    # Outcomes of each task's latest episodes, since this process began.
    _recent_of_task: dict[int, list[bool]] = field(default_factory=dict)

    def take(
        self, timeout: float, budget: float = math.inf, enough: Callable[[], bool] = lambda: False
    ) -> bool:
        """Take what waits, blocking up to `timeout` seconds for the first message.

        What is left in the queue holds the actors back once it is full: that bounds everybody's memory.

        Args:
            timeout: in seconds.
            budget: environment steps after which episodes stay in the queue.
            enough: asked before each episode; True leaves the rest in the queue.

        Returns:
            Whether anything came.

        Raises:
            NotFiniteStop: at NaN or infinity, when the run is to stop at it.
        """
        taken = 0
        while taken < TAKE_AT_MOST and self.counters.env_steps < budget and not enough():
            try:
                data = self.transition_queue.get(timeout=0.0 if taken else timeout)
            except Empty:
                break
            taken += 1
            self._take_transitions(data)
        while not self.interaction_queue.empty():
            self._take_interaction(self.interaction_queue.get())
        return taken > 0

    def succeeds(self, share: float | None) -> bool:
        """Whether at least this share of a whole window's episodes succeeded; never for None."""
        return (
            share is not None
            and len(self.counters.recent) == self.window
            and self.recent_success_rate >= share
        )

    @property
    def recent_success_rate(self) -> float:
        """Success under exploration noise over the latest episodes; NaN before the first."""
        recent = self.counters.recent
        return sum(recent) / len(recent) if recent else float("nan")

    @property
    def success_rate_of_task(self) -> dict[int, float]:
        """The same for each task id that has come."""
        return {task: sum(recent) / len(recent) for task, recent in sorted(self._recent_of_task.items())}

    @property
    def missing_episodes(self) -> int:
        """Episodes that an actor must have sent between two that came, and that did not come."""
        missing = 0
        for seen in self._seen.values():
            for incarnation in {episode // EPISODES_PER_INCARNATION for episode in seen}:
                numbers = [n for n in seen if n // EPISODES_PER_INCARNATION == incarnation]
                missing += max(numbers) - min(numbers) + 1 - len(numbers)
        return missing

    def _take_transitions(self, data: bytes) -> None:
        try:
            transitions = decode_transitions(data)
            if self.schema is not None:
                self.schema.check(transitions)
        except NotFiniteError as error:
            self.counters.not_finite_episodes += 1
            if self.not_finite == "stop":
                raise NotFiniteStop(f"an actor sent an episode that is not finite: {error}") from error
            logging.error("[LEARNER] left out an episode: %s", error)
            return
        except MessageError as error:
            self.counters.refused_messages += 1
            logging.error("[LEARNER] refused a message: %s", error)
            return
        if not self._is_new(transitions[0]):
            return
        for transition in transitions:
            self.buffer.add(**transition)
            self.counters.transitions += 1
            self.counters.env_steps += int(transition["complementary_info"]["executed_steps"])
            if transition["done"] or transition["truncated"]:
                self._count_episode(bool(transition["done"]))

    def _is_new(self, first: Transition) -> bool:
        info = first["complementary_info"]
        actor, episode = int(info["actor_id"]), int(info["episode_id"])
        seen = self._seen.setdefault(actor, set())
        if episode in seen:
            self.counters.repeated_episodes += 1
            logging.warning("[LEARNER] episode %d of actor %d came twice; dropped", episode, actor)
            return False
        seen.add(episode)
        return True

    def _count_episode(self, success: bool) -> None:
        self.counters.episodes += 1
        self.counters.successes += success
        self.counters.recent = [*self.counters.recent, success][-self.window :]

    def _take_interaction(self, data: bytes) -> None:
        try:
            message = decode_interaction(data)
            actor, task, success = int(message["actor_id"]), int(message["task_id"]), bool(message["success"])
            totals = {key: float(message[key]) for key in ("inference_s", "waiting_s", "lost_episodes")}
        except (MessageError, KeyError, TypeError, ValueError) as error:
            self.counters.refused_messages += 1
            logging.error("[LEARNER] refused an interaction message: %s", error)
            return
        self.actor_totals[actor] = totals
        self._recent_of_task[task] = [*self._recent_of_task.get(task, []), success][-self.window :]
