"""Messages from the network: plain values pass, everything else is refused and never executed."""

import contextlib
import io
import os
import pickle
import resource
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lerobot.transport.utils import (
    bytes_to_state_dict,
    python_object_to_bytes,
    state_to_bytes,
    transitions_to_bytes,
)

from pirl.runtime.messages import (
    MessageError,
    decode_interaction,
    decode_transitions,
    split_control,
    with_control,
)
from tests.runtime.transitions import make_transition

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


class Gadget:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "data",
    [
        b"}r\xff\xff\xff\x2f.",  # a memo of 800 million entries
        b"\x80\x05\x96\x00\x00\x00\x00\x02\x00\x00\x00.",  # a bytearray of 8 GiB
    ],
)
def test_a_few_bytes_do_not_fill_memory(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(MessageError):
        decode_interaction(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_compressed_archive_is_refused():
    inside, outside = io.BytesIO(transitions_to_bytes([make_transition()])), io.BytesIO()
    with zipfile.ZipFile(inside) as source, zipfile.ZipFile(outside, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
        bomb.writestr("archive/data/99", bytes(10_000_000))
    with pytest.raises(MessageError, match="compressed"):
        decode_transitions(outside.getvalue())


@given(st.dictionaries(st.text(), PLAIN))
def test_plain_interactions_survive_lerobots_serialisation(message):
    assert decode_interaction(python_object_to_bytes(message)) == message


def test_a_pickle_gadget_is_refused_and_not_run(tmp_path):
    target = tmp_path / "executed"
    with pytest.raises(MessageError, match="only plain values"):
        decode_interaction(pickle.dumps({"x": Gadget(str(target))}))
    with pytest.raises(MessageError):
        decode_transitions(pickle.dumps([Gadget(str(target))]))
    assert not target.exists()


@given(st.binary(max_size=200))
def test_noise_is_refused(data):
    with pytest.raises(MessageError):
        decode_transitions(data)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"action": torch.tensor([[float("nan"), 0.0]])}, "action holds NaN or infinity"),
        ({"reward": float("inf")}, "reward is NaN or infinite"),
        ({"state": {"observation.state": torch.tensor([[float("nan")]])}}, "holds NaN"),
        ({"next_state": {"x": 3}}, "is not a tensor"),
        ({"complementary_info": None}, "complementary_info is not a dict"),
    ],
)
def test_a_faulty_transition_is_named(changes, fault):
    with pytest.raises(MessageError, match=fault):
        decode_transitions(transitions_to_bytes([make_transition(), make_transition(**changes)]))


def test_what_is_not_finite_is_found_in_a_state_that_two_transitions_share():
    shared = {"observation.state": torch.full((1, 3), float("nan"))}
    message = transitions_to_bytes([make_transition(next_state=shared), make_transition(state=shared)])
    with pytest.raises(MessageError, match="transition 0: next_state"):
        decode_transitions(message)


def test_an_incomplete_transition_is_named():
    transition = make_transition()
    del transition["reward"]
    with pytest.raises(MessageError, match="transition 0 lacks reward"):
        decode_transitions(transitions_to_bytes([transition]))


def test_control_values_travel_with_the_weights():
    sent = state_to_bytes(with_control({"policy": {"w": torch.ones(2)}}, policy_version=7, finished=True))
    weights, version, finished = split_control(bytes_to_state_dict(sent))
    assert (version, finished) == (7, True)
    assert set(weights) == {"policy"}


def test_weights_of_a_stock_learner_have_no_control_values():
    assert split_control({"policy": {}}) == ({"policy": {}}, -1, False)
