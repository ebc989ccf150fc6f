"""Which episodes a recording asks for."""

from hypothesis import given
from hypothesis import strategies as st

from pirl.demonstrations.recording import Recording


@given(episodes=st.integers(1, 60), share=st.floats(0.0, 1.0))
def test_a_share_of_the_episodes_are_retries(episodes, share):
    recording = Recording(episodes=episodes, retries=share)
    retries = sum(recording.retry(job.episode) for job in recording.jobs())
    assert retries == int(episodes * share)


def test_retries_are_spread_evenly():
    recording = Recording(episodes=6, retries=0.5)
    assert [recording.retry(episode) for episode in range(6)] == [False, True] * 3
