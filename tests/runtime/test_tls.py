"""Beyond loopback: mutual TLS, or the user's explicit word."""

import logging
import stat
import threading
from queue import Queue

import pytest

from pirl.runtime.certificates import main as certificates_main
from pirl.runtime.certificates import make_certificates
from pirl.runtime.client import LearnerClient, LearnerUnreachable
from pirl.runtime.configuration import TransportConfig
from pirl.runtime.service import BroadcastLearnerService, ParameterBoard, start_server
from pirl.runtime.tls import TlsConfig, check_exposure, is_loopback
from tests.runtime.transitions import make_transition


def side(folder, name: str) -> TlsConfig:
    return TlsConfig(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")


@pytest.fixture
def certificates(tmp_path):
    make_certificates(tmp_path / "ours", ["localhost", "127.0.0.1"])
    return tmp_path / "ours"


@pytest.fixture
def learner(certificates):
    shutdown, transitions = threading.Event(), Queue()
    service = BroadcastLearnerService(ParameterBoard(), shutdown, transitions, Queue(), poll_s=0.05)
    server, port = start_server(service, "127.0.0.1", 0, actors=1, tls=side(certificates, "learner"))
    yield port, transitions
    shutdown.set()
    server.stop(grace=None).wait()


def test_an_actor_with_a_certificate_is_served(learner, certificates):
    port, transitions = learner
    client = LearnerClient(
        TransportConfig(port=port, tls=side(certificates, "actor"), connect_timeout_s=10.0)
    )
    client.connect()
    client.send_episode([make_transition()], {"actor_id": 0})
    client.close()
    assert transitions.qsize() == 1


@pytest.mark.parametrize("stranger", ["without", "of another authority"])
def test_strangers_are_not_served(learner, tmp_path, stranger):
    tls = TlsConfig()
    if stranger == "of another authority":
        make_certificates(tmp_path / "theirs", ["127.0.0.1"])
        tls = side(tmp_path / "theirs", "actor")
    client = LearnerClient(TransportConfig(port=learner[0], tls=tls, connect_timeout_s=0.5))
    with pytest.raises(LearnerUnreachable):
        client.connect()
    assert learner[1].qsize() == 0


def test_private_keys_are_private_and_never_overwritten(certificates, capsys):
    assert stat.S_IMODE((certificates / "actor.key").stat().st_mode) == 0o600
    with pytest.raises(SystemExit, match=r"already holds ca\.pem"):
        certificates_main(["--out", str(certificates)])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("learner.example", False)],
)
def test_loopback_is_recognised(host, loopback):
    assert is_loopback(host) == loopback


def test_other_hosts_need_tls_or_the_users_word(certificates, caplog):
    with pytest.raises(ValueError, match=r"transport\.host: 0\.0\.0\.0 .*pirl-certs"):
        check_exposure("0.0.0.0", TlsConfig(), insecure=False)
    check_exposure("0.0.0.0", side(certificates, "learner"), insecure=False)
    check_exposure("127.0.0.1", TlsConfig(), insecure=False)
    with caplog.at_level(logging.WARNING):
        check_exposure("0.0.0.0", TlsConfig(), insecure=True)
    assert "transport.insecure" in caplog.text


def test_half_a_set_of_files_is_refused(certificates):
    with pytest.raises(ValueError, match=r"transport\.tls\.key: missing"):
        check_exposure("127.0.0.1", TlsConfig(certificates / "ca.pem", certificates / "actor.pem"), False)
    absent = TlsConfig(certificates / "ca.pem", certificates / "none.pem", certificates / "actor.key")
    with pytest.raises(ValueError, match=r"transport\.tls\.cert: .*no such file"):
        check_exposure("127.0.0.1", absent, False)
