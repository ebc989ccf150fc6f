"""The actor's side of the transport: three streams over LeRobot's `LearnerService`, each in a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any

import grpc
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import (
    bytes_to_state_dict,
    grpc_channel_options,
    python_object_to_bytes,
    receive_bytes_in_chunks,
    send_bytes_in_chunks,
    transitions_to_bytes,
)
from lerobot.utils.transition import Transition

from pirl.runtime.configuration import TransportConfig
from pirl.runtime.messages import split_control
from pirl.runtime.tls import channel_credentials

_END = None
RETRY_S = 1.0
# A network that swallows packets is noticed by pings, not by a deadline: weights may take long.
KEEPALIVE = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 20_000)]
# A learner that is restarting, a network that stalls.
MENDABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)


class LearnerUnreachable(ConnectionError):
    """The learner did not answer, or went away."""


@dataclass(frozen=True)
class Weights:
    """Parameters received from the learner."""

    state: dict[str, Any]
    policy_version: int


class _WeightsInbox:
    """Keeps the newest weights only; `put` is what LeRobot's receiver calls with each message."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._weights: Weights | None = None
        self._newest: int | None = None
        self._expected: int | None = None
        self.finished = False

    def expect_again(self) -> None:
        """The next weights may be the newest ones once more; those are not news."""
        self._expected = self._newest

    def put(self, data: bytes) -> None:
        state, policy_version, finished = split_control(bytes_to_state_dict(data))
        with self._changed:
            repeated = policy_version == self._expected and not finished
            self._expected, self._newest = None, policy_version
            if repeated:
                return
            self._weights = Weights(state, policy_version)
            self.finished = self.finished or finished
            self._changed.notify_all()

    def take(self, timeout: float) -> Weights | None:
        with self._changed:
            self._changed.wait_for(lambda: self._weights is not None, timeout)
            weights, self._weights = self._weights, None
            return weights


class LearnerClient:
    """Connection of one actor to the learner.

    Episodes and interaction messages are queued and sent in order by background threads, one call each: a
    call returns when the learner has the message, else it is made again. The newest parameters wait until the
    actor asks for them. Queues are bounded: when the learner lags or is away, `send_episode` blocks.
    """

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._address = f"{config.host}:{config.port}"
        options = grpc_channel_options() + KEEPALIVE
        self._channel = (
            grpc.secure_channel(self._address, channel_credentials(config.tls), options)
            if config.tls.enabled
            else grpc.insecure_channel(self._address, options)
        )
        self._stub = services_pb2_grpc.LearnerServiceStub(self._channel)
        self._closed = threading.Event()
        self._failure: str | None = None
        self._transitions: Queue = Queue(maxsize=config.max_queued_messages)
        self._interactions: Queue = Queue(maxsize=config.max_queued_messages)
        self._inbox = _WeightsInbox()
        self._senders: list[threading.Thread] = []

    def connect(self) -> None:
        """Wait for the learner's `Ready`, each call under a deadline, then open the streams.

        Raises:
            LearnerUnreachable: when it does not answer within `transport.connect_timeout_s`.
        """
        patience = _Patience(self._config.connect_timeout_s)
        while True:
            try:
                self._stub.Ready(services_pb2.Empty(), timeout=5.0)
                break
            except grpc.RpcError as error:
                if patience.is_over():
                    raise LearnerUnreachable(
                        f"transport.host, transport.port: no learner answers at {self._address} within "
                        f"{self._config.connect_timeout_s:.0f} s ({error.code().name}); "
                        "start pirl-learner first"
                    ) from error
                time.sleep(0.5)
        self._start(self._receive_parameters)
        self._senders = [
            self._start(self._send, self._stub.SendTransitions, services_pb2.Transition, self._transitions),
            self._start(
                self._send, self._stub.SendInteractions, services_pb2.InteractionMessage, self._interactions
            ),
        ]

    def send_episode(self, transitions: list[Transition], interaction: dict[str, Any]) -> None:
        """Queue one complete episode and its summary.

        Raises:
            LearnerUnreachable: when the learner has gone before the run was over.
        """
        self._put(self._transitions, transitions_to_bytes(transitions))
        self._put(self._interactions, python_object_to_bytes(interaction))

    def take_weights(self, timeout: float) -> Weights | None:
        """Newest weights that have not been taken yet, or None after `timeout` seconds.

        Raises:
            LearnerUnreachable: when the learner has gone before the run was over.
        """
        weights = self._inbox.take(timeout)
        if weights is None and self._failure and not self.finished:
            raise LearnerUnreachable(self._failure)
        return weights

    @property
    def finished(self) -> bool:
        """Whether the learner has said that the run is over."""
        return self._inbox.finished

    def close(self, flush_s: float = 10.0) -> None:
        """Send what is queued, then leave."""
        if not self._failure:
            for queue, sender in zip((self._transitions, self._interactions), self._senders, strict=False):
                queue.put(_END)
                sender.join(timeout=flush_s)
        self._closed.set()
        self._channel.close()

    def _start(self, target: Any, *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        return thread

    def _put(self, queue: Queue, data: bytes) -> None:
        while True:
            if self.finished:
                return
            if self._failure:
                raise LearnerUnreachable(self._failure)
            try:
                queue.put(data, timeout=self._config.poll_s)
                return
            except Full:
                logging.debug("[ACTOR] waiting for the learner to take messages")

    def _receive_parameters(self) -> None:
        """Keep a parameter stream open; a learner that went away may come back.

        Each stream has a deadline and is then opened anew.
        """
        patience = _Patience(self._config.reconnect_timeout_s)
        while not self._leaving():
            try:
                stream = self._stub.StreamParameters(
                    services_pb2.Empty(), timeout=self._config.stream_timeout_s
                )
                watched = patience.renewed_by(stream)
                receive_bytes_in_chunks(watched, self._inbox, self._closed, log_prefix="[ACTOR] parameters")
            except (grpc.RpcError, ValueError) as error:
                if _code(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                    self._inbox.expect_again()
                else:
                    self._wait_or_give_up(error, patience)
            else:
                time.sleep(self._config.poll_s)  # the stream ended: over, or a learner that was stopped

    def _send(self, call: Any, message_class: Any, queue: Queue) -> None:
        """Deliver one message after the other, each until the learner has it."""
        while not self._closed.is_set():
            try:
                data = queue.get(timeout=self._config.poll_s)
            except Empty:
                continue
            if data is _END:
                return
            patience = _Patience(self._config.reconnect_timeout_s)
            while not self._leaving():
                try:
                    call(send_bytes_in_chunks(data, message_class), timeout=self._config.reconnect_timeout_s)
                    break
                except (grpc.RpcError, ValueError) as error:
                    self._wait_or_give_up(error, patience)

    def _leaving(self) -> bool:
        return self._closed.is_set() or self.finished or self._failure is not None

    def _wait_or_give_up(self, error: Exception, patience: _Patience) -> None:
        """After a failed call: wait a moment, or note a failure that will not mend."""
        if self._leaving():
            return
        code = _code(error)
        name = code.name if code is not None else str(error)
        if code not in MENDABLE or patience.is_over():
            self._failure = self._failure or f"the learner at {self._address} went away ({name})"
        else:
            logging.warning("[ACTOR] the learner at %s is away (%s); trying again", self._address, name)
            self._closed.wait(RETRY_S)


def _code(error: Exception) -> grpc.StatusCode | None:
    return error.code() if isinstance(error, grpc.RpcError) else None


class _Patience:
    """How long to go on trying; renewed by every sign of life."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def is_over(self) -> bool:
        return time.monotonic() > self._until

    def renewed_by(self, stream: Iterator[Any]) -> Iterator[Any]:
        for item in stream:
            self._until = time.monotonic() + self._seconds
            yield item
        self._until = time.monotonic() + self._seconds
