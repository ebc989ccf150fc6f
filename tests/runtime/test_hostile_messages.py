"""Whatever reaches the learner's port: nothing runs, nothing is stored, honest actors go on."""

import os
import pickle
import random
import threading
from queue import Queue

import grpc
import pytest
import torch
from lerobot.rl.buffer import ReplayBuffer
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import python_object_to_bytes, transitions_to_bytes

from pirl.runtime.client import LearnerClient
from pirl.runtime.configuration import TransportConfig
from pirl.runtime.ingest import Intake
from pirl.runtime.schema import NUMBERS, TransitionSchema
from pirl.runtime.service import BroadcastLearnerService, ParameterBoard, start_server
from tests.runtime.transitions import make_transition

MESSAGES = 20_000
STREAMS = 300
LIMIT = 100_000
SCHEMA = TransitionSchema(
    state={"observation.state": (1, 3)},
    action=(1, 2),
    complementary_info=dict.fromkeys(NUMBERS, (1,)),
    chunk_size=8,
    max_decisions=4,
)


def honest(episode: int, length: int = 2) -> list[dict]:
    numbers = {"policy_version": 0, "episode_id": episode, "actor_id": 0, "executed_steps": 8}
    return [
        make_transition(
            done=index == length - 1,
            complementary_info={
                key: torch.tensor([float(value)])
                for key, value in (numbers | {"decision_index": index}).items()
            },
        )
        for index in range(length)
    ]


def misfits() -> list[list[dict]]:
    """Well-formed messages that are not of this run."""

    def changed(**fields):
        return [*honest(9)[:1], honest(9)[1] | fields]

    info = honest(9)[1]["complementary_info"]
    return [
        honest(9, length=5),  # too long
        honest(9)[:1],  # does not end
        [honest(9)[1], *honest(9)],  # ends in the middle
        changed(action=torch.zeros(1, 3)),
        changed(action=torch.full((1, 2), float("nan"))),
        changed(reward=float("inf")),
        changed(state={"observation.state": torch.zeros(1, 4)}),
        changed(state={}),
        changed(next_state={"observation.state": torch.zeros(1, 3), "extra": torch.zeros(1)}),
        changed(complementary_info=info | {"executed_steps": torch.tensor([9.0])}),
        changed(complementary_info=info | {"executed_steps": torch.tensor([0.5])}),
        changed(complementary_info={}),
    ]


class Gadget:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def hostile_messages(generator: random.Random, trap) -> list[bytes]:
    """Truncated, bit-flipped, padded, foreign and malicious bytes, all different from an honest message."""
    originals = [transitions_to_bytes(honest(1)), python_object_to_bytes({"actor_id": 0, "inference_s": 1.0})]
    fixed = [transitions_to_bytes(episode) for episode in misfits()]
    fixed += [pickle.dumps(Gadget(trap)), pickle.dumps({"actor_id": Gadget(trap)}), pickle.dumps([1, 2]), b""]
    messages = list(fixed)
    while len(messages) < MESSAGES:
        data = bytearray(generator.choice(originals))
        change = generator.randrange(4)
        if change == 0:
            del data[generator.randrange(len(data)) :]
        elif change == 1:
            for _ in range(generator.randint(8, 64)):
                data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        elif change == 2:
            start = generator.randrange(len(data))
            data[start : start + 32] = generator.randbytes(32)
        else:
            data = bytearray(generator.randbytes(generator.randint(0, 200)))
        messages.append(bytes(data))
    return messages


def make_intake() -> Intake:
    buffer = ReplayBuffer(capacity=100, device="cpu", state_keys=["observation.state"], use_drq=False)
    return Intake(Queue(), Queue(), buffer, SCHEMA)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_hostile_runs_or_crashes_and_honest_episodes_count(tmp_path):
    trap, generator, intake = tmp_path / "trap", random.Random(0), make_intake()
    for number, data in enumerate(hostile_messages(generator, trap)):
        intake.transition_queue.put(data)
        intake.interaction_queue.put(data)
        if number % 1000 == 0:
            intake.transition_queue.put(transitions_to_bytes(honest(100 + number)))
        intake.take(timeout=0.0)
    assert not trap.exists()
    assert intake.counters.refused_messages > MESSAGES
    ids = [int(value) for value in intake.buffer.complementary_info["episode_id"][: len(intake.buffer)]]
    assert {100 + number for number in range(0, MESSAGES, 1000)} <= set(ids)


@pytest.mark.parametrize("episode", misfits())
def test_what_is_not_of_this_run_is_refused(episode):
    intake = make_intake()
    intake.transition_queue.put(transitions_to_bytes(episode))
    intake.take(timeout=0.0)
    assert intake.counters.refused_messages + intake.counters.not_finite_episodes == 1
    assert len(intake.buffer) == 0


def test_hostile_streams_are_cut_and_hurt_nobody_else():
    shutdown, transitions = threading.Event(), Queue()
    service = BroadcastLearnerService(ParameterBoard(), shutdown, transitions, Queue(), 0.05, LIMIT)
    server, port = start_server(service, "127.0.0.1", 0, actors=2)
    client = LearnerClient(TransportConfig(port=port, connect_timeout_s=10.0, poll_s=0.05))
    client.connect()
    generator = random.Random(1)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = services_pb2_grpc.LearnerServiceStub(channel)
        for number in range(STREAMS):
            states = generator.choice([[2], [1, 1], [1, 2, 1], [0], [7], [1, *[2] * 100]])
            chunks = [services_pb2.Transition(transfer_state=state, data=b"x" * 2000) for state in states]
            with pytest.raises(grpc.RpcError) as refusal:
                stub.SendTransitions(iter(chunks), timeout=10.0)
            assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            if number % 100 == 0:
                client.send_episode(honest(number), {"actor_id": 0})
    client.close()
    assert service.refused_streams == STREAMS
    assert transitions.qsize() == 3
    shutdown.set()
    server.stop(grace=None).wait()
