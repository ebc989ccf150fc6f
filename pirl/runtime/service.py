"""The learner's gRPC server: LeRobot's `LearnerService`, made to serve several actors.

LeRobot's service hands each set of parameters to one stream only and has three server threads, so a
second or replacement actor starves. Here every stream sees the newest parameters, and the thread pool
is sized for the actors. Proto and serialisation are LeRobot's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from typing import Any

import grpc
from lerobot.rl.learner_service import LearnerService
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import MAX_MESSAGE_SIZE, receive_bytes_in_chunks, send_bytes_in_chunks

from pirl.runtime.messages import MessageError
from pirl.runtime.tls import TlsConfig, server_credentials

BEGIN = services_pb2.TransferState.TRANSFER_BEGIN
MIDDLE = services_pb2.TransferState.TRANSFER_MIDDLE
END = services_pb2.TransferState.TRANSFER_END
STREAMS_PER_ACTOR = 3
SPARE_THREADS = 6


class ParameterBoard:
    """Holds the newest serialised parameters; every reader sees each edition at most once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._edition = 0
        self._data = b""
        self._last = False

    def publish(self, data: bytes, last: bool = False) -> None:
        """Replace the parameters and wake all waiting streams, which end after the `last` edition."""
        with self._changed:
            self._edition += 1
            self._data = data
            self._last = last
            self._changed.notify_all()

    def wait_newer(self, edition: int, timeout: float) -> tuple[int, bytes, bool] | None:
        """Return (edition, data, is last) newer than `edition`, or None after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._edition > edition, timeout):
                return None
            return self._edition, self._data, self._last


class Abandoned(Exception):
    """A call ended, or the learner is leaving, before its message found room in the queue."""


class Inbox:
    """A queue as one call sees it: counts what the call has put there, and waits only while it is wanted."""

    def __init__(self, queue: Queue, wanted: Callable[[], bool], poll_s: float) -> None:
        self._queue = queue
        self._wanted = wanted
        self._poll_s = poll_s
        self.messages = 0

    def put(self, data: bytes) -> None:
        """Wait for room.

        Raises:
            Abandoned: when nobody waits for the answer any more; the message is not in the queue then, so
                that the actor may send it again.
        """
        while self._wanted():
            try:
                self._queue.put(data, timeout=self._poll_s)
                self.messages += 1
                return
            except Full:
                continue
        raise Abandoned


class BroadcastLearnerService(LearnerService):
    """`LearnerService` whose parameter streams all receive the newest parameters."""

    def __init__(
        self,
        board: ParameterBoard,
        shutdown_event: threading.Event,
        transition_queue: Queue,
        interaction_queue: Queue,
        poll_s: float,
        max_message_bytes: int = MAX_MESSAGE_SIZE,
    ) -> None:
        super().__init__(
            shutdown_event=shutdown_event,
            parameters_queue=Queue(),
            seconds_between_pushes=0.0,
            transition_queue=transition_queue,
            interaction_message_queue=interaction_queue,
            queue_get_timeout=poll_s,
        )
        self._board = board
        self._max_message_bytes = max_message_bytes
        self._refusing = threading.Lock()
        self.refused_streams = 0

    def StreamParameters(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Yield each new edition of the parameters until the run ends or the actor leaves."""
        edition = 0
        while not self.shutdown_event.is_set() and context.is_active():
            newer = self._board.wait_newer(edition, timeout=self.queue_get_timeout)
            if newer is None:
                continue
            edition, data, last = newer
            yield from send_bytes_in_chunks(data, services_pb2.Parameters, silent=True)
            if last:
                return

    def SendTransitions(self, request_iterator: Any, context: grpc.ServicerContext) -> Any:
        """Receive transitions; one actor's fault is logged and ends only its own stream."""
        return self._receive(request_iterator, context, self.transition_queue, "transitions")

    def SendInteractions(self, request_iterator: Any, context: grpc.ServicerContext) -> Any:
        """Receive interaction messages; one actor's fault is logged and ends only its own stream."""
        return self._receive(request_iterator, context, self.interaction_message_queue, "interactions")

    def _receive(self, request_iterator: Any, context: grpc.ServicerContext, queue: Queue, kind: str) -> Any:
        try:
            chunks = well_formed(request_iterator, self._max_message_bytes)
            inbox = Inbox(
                queue,
                lambda: context.is_active() and not self.shutdown_event.is_set(),
                self.queue_get_timeout,
            )
            receive_bytes_in_chunks(chunks, inbox, self.shutdown_event, log_prefix=f"[LEARNER] {kind}")
            if not inbox.messages and self.shutdown_event.is_set():  # not to be taken for an acknowledgement
                context.abort(grpc.StatusCode.UNAVAILABLE, "the learner is leaving")
        except MessageError as error:
            with self._refusing:
                self.refused_streams += 1
            logging.error("[LEARNER] refused the %s stream of %s: %s", kind, context.peer(), error)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Abandoned:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the learner is leaving, or has no room")
        except grpc.RpcError:
            logging.info("[LEARNER] %s stream of %s ended", kind, context.peer())
        return services_pb2.Empty()


def well_formed(chunks: Iterator[Any], max_message_bytes: int) -> Iterator[Any]:
    """Pass on the chunks of a stream while they make up messages of bounded size.

    A message is BEGIN, any MIDDLEs, END; one that fits a single chunk is an END alone.

    Raises:
        MessageError: at the first chunk out of order, or beyond the limit.
    """
    size, inside = 0, False
    for chunk in chunks:
        state = chunk.transfer_state
        admitted = (MIDDLE, END) if inside else (BEGIN, END)
        if state not in admitted:
            raise MessageError(f"transfer state {state} is out of order; expected one of {admitted}")
        size += len(chunk.data)
        if size > max_message_bytes:
            raise MessageError(
                f"a message exceeds transport.max_message_bytes ({max_message_bytes}); raise it if need be"
            )
        inside = state != END
        size = size if inside else 0
        yield chunk


def start_server(
    service: BroadcastLearnerService, host: str, port: int, actors: int, tls: TlsConfig | None = None
) -> tuple[grpc.Server, int]:
    """Serve on `host:port` (0: any free port) with threads for `actors` actors, under mutual TLS if given.

    Returns:
        The running server and its real port.

    Raises:
        OSError: when the port is taken.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=STREAMS_PER_ACTOR * actors + SPARE_THREADS),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
            ("grpc.max_send_message_length", MAX_MESSAGE_SIZE),
            ("grpc.so_reuseport", 0),
            # Actors ping every 20 s; by default a server hangs up on pings without data.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    services_pb2_grpc.add_LearnerServiceServicer_to_server(service, server)
    bound, reason = 0, "already in use"
    try:
        if tls is not None and tls.enabled:
            bound = server.add_secure_port(f"{host}:{port}", server_credentials(tls))
        else:
            bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        reason = str(error)
    if bound == 0:
        raise OSError(
            f"transport.port: cannot listen on {host}:{port} ({reason}); "
            "choose another port, or 0 for any free one"
        )
    server.start()
    return server, bound
