"""A learner and an actor on two hosts, as two network namespaces are: mutual TLS over a virtual cable."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pirl.runtime.certificates import main as make_certificates
from tests.runtime.test_chaos import run_file
from tests.runtime.test_faults import (
    assert_nothing_lost_or_doubled,
    change,
    listens,
    process,
    summary,
    wait_for,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]

LEARNER_ADDRESS, ACTOR_ADDRESS, PORT = "10.213.7.1", "10.213.7.2", 50051


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two namespaces, the learner's and the actor's, that only a cable joins."""
    learner, actor = names = [f"pirl-{side}-{os.getpid()}" for side in ("learner", "actor")]
    if shutil.which("ip") is None:
        pytest.skip("needs `ip`: apt-get install iproute2")
    try:
        ip("netns", "add", learner)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs the right to make network namespaces: {error.stderr.strip()}")
    try:
        ip("netns", "add", actor)
        ip("-n", learner, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", actor)
        for name, address in zip(names, (LEARNER_ADDRESS, ACTOR_ADDRESS), strict=True):
            ip("-n", name, "address", "add", f"{address}/30", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
        yield learner, actor
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def tls(folder: Path, side: str) -> list[str]:
    files = {"ca": "ca.pem", "cert": f"{side}.pem", "key": f"{side}.key"}
    return [f"--transport.tls.{name}={folder / file}" for name, file in files.items()]


def test_an_actor_on_another_host_trains_and_a_stranger_is_refused(tmp_path, start_policy, hosts):
    path, certificates = run_file(tmp_path, start_policy), tmp_path / "certificates"
    change(path, actors=1, budget={"env_steps": 128, "checkpoints": 1})
    change(path, transport={"host": LEARNER_ADDRESS, "connect_timeout_s": 10.0})
    make_certificates(["--out", str(certificates), "--hosts", LEARNER_ADDRESS])
    logs = {name: tmp_path / f"{name}.log" for name in ("learner", "stranger", "actor")}
    learner_host, actor_host = hosts
    flags = tls(certificates, "learner")
    with process("learner", path, PORT, logs["learner"], *flags, namespace=learner_host) as learner:
        wait_for(lambda: listens(tmp_path))
        bare = "--transport.insecure=true"
        with process("actor", path, PORT, logs["stranger"], bare, namespace=actor_host) as stranger:
            assert stranger.wait(timeout=600) == 1
        assert f"no learner answers at {LEARNER_ADDRESS}:{PORT}" in logs["stranger"].read_text()
        flags = tls(certificates, "actor")
        with process("actor", path, PORT, logs["actor"], *flags, namespace=actor_host) as actor:
            assert learner.wait(timeout=1800) == 0, logs["learner"].read_text()
            assert actor.wait(timeout=60) == 0, logs["actor"].read_text()
    assert summary(tmp_path)["env_steps"] >= 128
    assert_nothing_lost_or_doubled(summary(tmp_path))
