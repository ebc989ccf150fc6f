"""A learner's life in this process: LeRobot's SAC from real messages to the end and on from there."""

import itertools
import json
import threading
import time

import pytest
import torch
from lerobot.utils.transition import Transition

from pirl.runtime.client import LearnerClient
from pirl.runtime.configuration import TransportConfig, latest_checkpoint, parse_config
from pirl.runtime.learner import Learner
from tests.runtime.run_file import write_sac_run

STEPS = 6


def make_episode(number: int) -> list[Transition]:
    """Random control steps, as an actor sends them."""
    torch.manual_seed(number)
    states = [
        {
            "observation.images.image": torch.rand(1, 3, 64, 64),
            "observation.images.image2": torch.rand(1, 3, 64, 64),
            "observation.state": torch.randn(1, 8),
        }
        for _ in range(STEPS + 1)
    ]
    info = {"policy_version": 0, "episode_id": number, "actor_id": 0, "executed_steps": 1}
    return [
        Transition(
            state=state,
            action=torch.rand(1, 7),
            reward=0.0,
            next_state=following,
            done=False,
            truncated=step == STEPS - 1,
            complementary_info={
                name: torch.tensor([float(value)]) for name, value in {**info, "decision_index": step}.items()
            },
        )
        for step, (state, following) in enumerate(itertools.pairwise(states))
    ]


def act(port: int) -> None:
    """Send episodes until the learner says that the run is over."""
    client = LearnerClient(TransportConfig(port=port))
    client.connect()
    message = {"actor_id": 0, "task_id": 0, "success": False}
    message |= {"inference_s": 0.0, "waiting_s": 0.0, "lost_episodes": 0}
    for number in itertools.count():
        if client.finished:
            break
        client.send_episode(make_episode(number), message)
        client.take_weights(timeout=0.2)
    client.close()


def train(learner: Learner, folder) -> None:
    actor = threading.Thread(target=lambda: act(wait_for_port(folder)))
    actor.start()
    learner.run()
    actor.join()


def wait_for_port(folder) -> int:
    while not (folder / "learner.json").is_file():
        time.sleep(0.05)
    return json.loads((folder / "learner.json").read_text())["port"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run file, its folder, and threads left after the run."""
    folder = tmp_path_factory.mktemp("sac")
    path = write_sac_run(folder / "run.json", folder / "run", transport={"port": 0})
    before = set(threading.enumerate())
    learner = Learner(parse_config([f"--config_path={path}"]))
    train(learner, folder / "run")
    left = set(threading.enumerate()) - before  # while `learner` lives, as the handlers of signals have it
    return path, folder / "run", left


def test_what_samples_in_advance_ends_with_the_learner(finished):
    """A thread that computes while the interpreter ends aborts the process, and the run with it."""
    _, folder, left = finished
    assert json.loads((folder / "train.json").read_text())["updates"] > 0
    assert not [thread.name for thread in left if "producer" in thread.name]


def test_sac_goes_on_from_its_checkpoint(finished):
    path, folder, _ = finished
    assert latest_checkpoint(folder).name == "000012"
    config = parse_config([f"--config_path={path}", "--resume=true", "--budget.env_steps=24"])
    train(Learner(config), folder)
    assert json.loads((folder / "train.json").read_text())["env_steps"] == 24
