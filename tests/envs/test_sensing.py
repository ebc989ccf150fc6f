"""The sampling clock ticks as robosuite's observables do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from robosuite.utils.observables import Observable, sensor

from pirl.envs.sensing import SamplingClock

TIMESTEP = 0.002


@given(st.integers(1, 60))
def test_it_samples_when_an_observable_does(control_steps):
    samples = []

    @sensor(modality="test")
    def count(_):
        samples.append(None)
        return np.zeros(2)

    observable = Observable("test", count, sampling_rate=20)
    clock = SamplingClock(TIMESTEP)
    for _ in range(2):
        observable.update(TIMESTEP, {}, force=True)
    for _ in range(25 * control_steps):
        before = len(samples)
        observable.update(TIMESTEP, {})
        assert clock.tick() == (len(samples) > before)
