"""What travels between actor and learner, read safely and checked against the run.

LeRobot's proto and serialisation stay as they are: transitions and weights are `torch.save` bytes,
interaction messages are pickles. Transitions and weights are read with `weights_only=True` (LeRobot's
`bytes_to_transitions` and `bytes_to_state_dict`); interaction messages are read by an unpickler that
admits plain containers and numbers only, because LeRobot's own would run whatever reaches the port.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from typing import Any

import torch
from lerobot.transport.utils import bytes_to_transitions
from lerobot.utils.transition import Transition

TRANSITION_KEYS = ("state", "action", "reward", "next_state", "done", "truncated", "complementary_info")
CONTROL_KEY = "control"


class MessageError(ValueError):
    """A message from the network is malformed, hostile, or not of this run."""


class NotFiniteError(MessageError):
    """A transition holds NaN or infinity."""


class _PlainUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Unpickles dicts, lists, strings, booleans and numbers; refuses every class and function.

    The unpickler written in Python, since the one in C fills memory at a word of its input: it grows its memo
    to whatever index a message names.
    """

    # A bytearray is allocated before its bytes are read.
    dispatch = {  # noqa: RUF012
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]  # type: ignore[attr-defined]
    }

    def find_class(self, module: str, name: str) -> Any:
        raise MessageError(f"interaction message refers to {module}.{name}; only plain values are admitted")

    def persistent_load(self, pid: Any) -> Any:
        raise MessageError("interaction message holds a persistent id; only plain values are admitted")


def decode_interaction(data: bytes) -> dict[str, Any]:
    """Read one interaction message.

    Raises:
        MessageError: when it is not a pickled dict of plain values.
    """
    try:
        message = _PlainUnpickler(io.BytesIO(data)).load()
    except MessageError:
        raise
    except Exception as error:
        raise MessageError(f"interaction message cannot be read: {error}") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise MessageError("interaction message is not a dict with string keys")
    return message


def decode_transitions(data: bytes) -> list[Transition]:
    """Read a list of transitions and check that each is complete and finite.

    Raises:
        MessageError: naming the first fault.
    """
    _check_archive(data)
    try:
        transitions = bytes_to_transitions(data)
    except Exception as error:
        raise MessageError(f"transitions cannot be read: {error}") from error
    if not isinstance(transitions, list) or not transitions:
        raise MessageError("transitions message is not a non-empty list")
    finite: dict[int, Any] = {}
    for index, transition in enumerate(transitions):
        _check_transition(transition, index, finite)
    return transitions


def _check_archive(data: bytes) -> None:
    """Admit only what `torch.save` writes: an uncompressed zip archive, no larger inside than outside."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except Exception as error:
        raise MessageError(f"transitions are no torch archive: {error}") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise MessageError("transitions are compressed; torch.save does not compress")
    if sum(entry.file_size for entry in entries) > len(data):
        raise MessageError("transitions claim to be larger than the message")


def _check_transition(transition: Any, index: int, finite: dict[int, Any]) -> None:
    """Check one; `finite` are tensors seen to be, by identity: a next state is the state of what follows."""
    if not isinstance(transition, dict):
        raise MessageError(f"transition {index} is not a dict")
    missing = [key for key in TRANSITION_KEYS if key not in transition]
    if missing:
        raise MessageError(f"transition {index} lacks {', '.join(missing)}")
    for group in ("state", "next_state", "complementary_info"):
        tensors = transition[group]
        if not isinstance(tensors, dict):
            raise MessageError(f"transition {index}: {group} is not a dict")
        for key, value in tensors.items():
            if not isinstance(value, torch.Tensor):
                raise MessageError(f"transition {index}: {group}[{key!r}] is not a tensor")
            if id(value) in finite:
                continue
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise NotFiniteError(f"transition {index}: {group}[{key!r}] holds NaN or infinity")
            finite[id(value)] = value
    action = transition["action"]
    if not isinstance(action, torch.Tensor):
        raise MessageError(f"transition {index}: action is not a tensor")
    if not bool(torch.isfinite(action).all()):
        raise NotFiniteError(f"transition {index}: action holds NaN or infinity")
    if not math.isfinite(float(transition["reward"])):
        raise NotFiniteError(f"transition {index}: reward is NaN or infinite")


def with_control(weights: dict[str, Any], *, policy_version: int, finished: bool) -> dict[str, Any]:
    """Add the run's control values to an algorithm's weights; stock actors ignore the extra key."""
    control = {"policy_version": torch.tensor(policy_version), "finished": torch.tensor(finished)}
    return {**weights, CONTROL_KEY: control}


def split_control(weights: dict[str, Any]) -> tuple[dict[str, Any], int, bool]:
    """Undo `with_control`.

    Returns:
        The algorithm's weights, the policy version (-1 when none was sent), and whether the run is over.
    """
    control = weights.pop(CONTROL_KEY, None)
    if control is None:
        return weights, -1, False
    return weights, int(control["policy_version"]), bool(control["finished"])
