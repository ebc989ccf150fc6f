"""Settings of the whole suite: metrics go to a store of the session's own, never to the project's."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_tracking_store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
        patch.setenv("MUJOCO_GL", "egl")
        yield


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, headless."""
    from pirl.tracking.browse import chromium

    try:
        with chromium() as found:
            yield found
    except FileNotFoundError as error:
        pytest.skip(str(error))
