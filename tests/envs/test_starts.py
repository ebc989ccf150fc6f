"""Starts: named, serialisable, and distributed as they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pirl.envs.initial_states import load_official_states
from pirl.envs.starts import START_KINDS, Start
from pirl.envs.tasks import SUITES, get_task, num_tasks


@given(st.builds(Start, st.sampled_from(sorted(START_KINDS)), st.integers(0, 49), st.integers(0, 2**31)))
def test_starts_survive_json(start):
    assert Start.from_dict(start.to_dict()) == start


@pytest.mark.parametrize("values", [{"kind": "any"}, {"kind": "sampled", "seed": -1}])
def test_nonsense_is_refused(values):
    with pytest.raises(ValueError):
        Start(**values)


def test_every_suite_has_its_tasks_and_official_states():
    assert {suite: num_tasks(suite) for suite in SUITES} == {
        "libero_spatial": 10, "libero_object": 10, "libero_goal": 10, "libero_10": 10, "libero_90": 90,
    }  # fmt: skip
    for suite in SUITES[:4]:
        states = load_official_states(get_task(suite, 3))
        assert states.shape[0] == 50
        assert np.isfinite(states).all()
