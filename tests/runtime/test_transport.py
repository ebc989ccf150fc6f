"""Real gRPC on a free port: several actors, stock LeRobot actors, taken ports."""

import threading
from queue import Queue
from types import SimpleNamespace

import grpc
import pytest
import torch
from lerobot.rl.actor import receive_policy, send_transitions
from lerobot.transport import services_pb2_grpc
from lerobot.transport.utils import (
    bytes_to_state_dict,
    grpc_channel_options,
    state_to_bytes,
    transitions_to_bytes,
)

from pirl.runtime.client import LearnerClient, LearnerUnreachable
from pirl.runtime.configuration import TransportConfig
from pirl.runtime.messages import decode_transitions, with_control
from pirl.runtime.service import (
    Abandoned,
    BroadcastLearnerService,
    Inbox,
    ParameterBoard,
    start_server,
)
from tests.runtime.transitions import make_transition

WEIGHTS = {"policy": {"w": torch.arange(3.0)}}


@pytest.fixture
def learner():
    board, shutdown = ParameterBoard(), threading.Event()
    transitions, interactions = Queue(), Queue()
    service = BroadcastLearnerService(board, shutdown, transitions, interactions, poll_s=0.05)
    server, port = start_server(service, "127.0.0.1", 0, actors=3)
    yield SimpleNamespace(
        board=board, transitions=transitions, interactions=interactions, port=port, server=server
    )
    shutdown.set()
    server.stop(grace=None).wait()


def connect(port):
    client = LearnerClient(TransportConfig(port=port, connect_timeout_s=10.0, poll_s=0.05))
    client.connect()
    return client


def publish(learner, version, finished=False):
    weights = with_control(WEIGHTS, policy_version=version, finished=finished)
    learner.board.publish(state_to_bytes(weights), last=finished)


def test_every_actor_receives_every_edition(learner):
    publish(learner, 1)
    clients = [connect(learner.port) for _ in range(3)]
    for version in (1, 2):
        for client in clients:
            weights = client.take_weights(timeout=10.0)
            assert weights.policy_version == version
            assert torch.equal(weights.state["policy"]["w"], WEIGHTS["policy"]["w"])
        publish(learner, version + 1)
    for client in clients:
        client.close()


def test_episodes_arrive_whole_and_in_order(learner):
    client = connect(learner.port)
    for episode in range(5):
        transitions = [make_transition(complementary_info={"episode_id": torch.tensor([float(episode)])})] * 3
        client.send_episode(transitions, {"Episodic reward": float(episode), "actor_id": 0})
    client.close()
    received = [decode_transitions(learner.transitions.get(timeout=10.0)) for _ in range(5)]
    assert [int(episode[0]["complementary_info"]["episode_id"]) for episode in received] == list(range(5))
    assert all(len(episode) == 3 for episode in received)
    assert learner.interactions.qsize() == 5


def test_actors_learn_that_the_run_is_over(learner):
    client = connect(learner.port)
    publish(learner, 1, finished=True)
    assert client.take_weights(timeout=10.0).policy_version == 1
    assert client.finished
    client.close()


def test_an_absent_learner_is_named():
    client = LearnerClient(TransportConfig(port=1, connect_timeout_s=0.5))
    with pytest.raises(LearnerUnreachable, match=r"127\.0\.0\.1:1 .*start pirl-learner first"):
        client.connect()


def test_a_learner_that_comes_back_gets_every_episode():
    """The server dies with messages under way and another one takes its port.

    A message whose acknowledgement was lost comes again; the intake drops it by its number.
    """
    board, received = ParameterBoard(), Queue()
    board.publish(state_to_bytes(with_control(WEIGHTS, policy_version=1, finished=False)))

    def serve(port=0):
        shutdown = threading.Event()
        service = BroadcastLearnerService(board, shutdown, received, Queue(), poll_s=0.05)
        return shutdown, *start_server(service, "127.0.0.1", port, actors=1)

    shutdown, server, port = serve()
    client = connect(port)
    for episode in range(30):
        if episode in (5, 15):
            shutdown.set()
            server.stop(grace=None).wait()
        if episode in (10, 20):
            shutdown, server, _ = serve(port)
        info = {"episode_id": torch.tensor([float(episode)])}
        client.send_episode([make_transition(complementary_info=info)], {"actor_id": 0})
    arrived: list[int] = []
    while len(set(arrived)) < 30:
        episode = decode_transitions(received.get(timeout=30.0))
        arrived.append(int(episode[0]["complementary_info"]["episode_id"]))
    client.close()
    shutdown.set()
    server.stop(grace=None).wait()
    assert arrived == sorted(arrived)
    assert len(arrived) <= 30 + 2  # one lost acknowledgement per outage at most


def test_an_actor_gives_up_on_a_learner_that_stays_away(learner):
    client = LearnerClient(TransportConfig(port=learner.port, poll_s=0.05, reconnect_timeout_s=1.0))
    client.connect()
    learner.server.stop(grace=None).wait()
    with pytest.raises(LearnerUnreachable, match="went away"):
        for _ in range(300):
            client.send_episode([make_transition()], {"actor_id": 0})
            client.take_weights(timeout=0.1)
    client.close()


def test_a_taken_port_is_named(learner):
    service = BroadcastLearnerService(ParameterBoard(), threading.Event(), Queue(), Queue(), poll_s=0.05)
    with pytest.raises(OSError, match=r"transport\.port: cannot listen on 127\.0\.0\.1"):
        start_server(service, "127.0.0.1", learner.port, actors=1)


def test_a_parameter_stream_that_is_renewed_brings_no_weights_twice(learner):
    """Synchronous actors take weights for news: old ones again would make them collect one share too many."""
    publish(learner, 1)
    client = LearnerClient(TransportConfig(port=learner.port, poll_s=0.05, stream_timeout_s=0.5))
    client.connect()
    assert client.take_weights(timeout=10.0).policy_version == 1
    assert client.take_weights(timeout=4.0) is None  # through eight streams of half a second
    publish(learner, 2)
    assert client.take_weights(timeout=10.0).policy_version == 2
    publish(learner, 3, finished=True)
    assert client.take_weights(timeout=10.0).policy_version == 3
    assert client.finished
    client.close()


def test_the_last_edition_is_not_missed_by_a_stream_that_is_busy_with_the_one_before():
    """Published at once after an update's weights, the end of the run overtook them."""
    board = ParameterBoard()
    service = BroadcastLearnerService(board, threading.Event(), Queue(), Queue(), poll_s=0.05)
    stream = service.StreamParameters(None, SimpleNamespace(is_active=lambda: True))
    board.publish(b"an update's weights")
    received = [next(stream).data]
    board.publish(b"the last", last=True)
    received += [chunk.data for chunk in stream]
    assert received == [b"an update's weights", b"the last"]


def test_a_call_that_finds_no_room_ends_with_the_learner_and_leaves_nothing_behind():
    """A handler that waited for room for ever kept the learner's process from ending."""
    queue, wanted = Queue(maxsize=1), threading.Event()
    wanted.set()
    inbox = Inbox(queue, wanted.is_set, poll_s=0.05)
    inbox.put(b"first")
    threading.Timer(0.3, wanted.clear).start()
    with pytest.raises(Abandoned):
        inbox.put(b"second")
    assert (inbox.messages, queue.get_nowait(), queue.empty()) == (1, b"first", True)


def test_a_stock_lerobot_actor_talks_to_our_learner(learner):
    publish(learner, 3)
    channel = grpc.insecure_channel(f"127.0.0.1:{learner.port}", grpc_channel_options())
    stub = services_pb2_grpc.LearnerServiceStub(channel)
    settings = SimpleNamespace(
        policy=SimpleNamespace(
            concurrency=SimpleNamespace(actor="threads"),
            actor_learner_config=SimpleNamespace(queue_get_timeout=0.05),
        )
    )
    leaving, outgoing, incoming = threading.Event(), Queue(), Queue()
    outgoing.put(transitions_to_bytes([make_transition()]))
    threads = [
        threading.Thread(
            target=send_transitions, args=(settings, outgoing, leaving, stub, channel), daemon=True
        ),
        threading.Thread(
            target=receive_policy, args=(settings, incoming, leaving, stub, channel), daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    assert len(decode_transitions(learner.transitions.get(timeout=10.0))) == 1
    received = bytes_to_state_dict(incoming.get(timeout=10.0))
    assert torch.equal(received["policy"]["w"], WEIGHTS["policy"]["w"])
    leaving.set()
    channel.close()
