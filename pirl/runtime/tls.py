"""Mutual TLS between learner and actors, and what may be reached without it."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass, fields
from pathlib import Path

import grpc


@dataclass
class TlsConfig:
    """PEM files of one side; all three or none. `pirl-certs` makes a set for development."""

    # Certificate of the authority that signed the other side's certificate.
    ca: Path | None = None
    # This side's certificate.
    cert: Path | None = None
    # This side's private key.
    key: Path | None = None

    @property
    def enabled(self) -> bool:
        """Whether any of the files is named."""
        return any(getattr(self, field.name) is not None for field in fields(self))


def check_exposure(host: str, tls: TlsConfig, insecure: bool) -> None:
    """Refuse to talk beyond this machine in the clear.

    Args:
        host: address that the learner binds and the actors connect to.
        tls: credentials.
        insecure: the user's word that nobody else is on the network.

    Raises:
        ValueError: naming the key and the remedy.
    """
    if tls.enabled:
        for field in fields(tls):
            path = getattr(tls, field.name)
            if path is None:
                raise ValueError(
                    f"transport.tls.{field.name}: missing; give ca, cert and key, or none of them"
                )
            if not Path(path).is_file():
                raise ValueError(f"transport.tls.{field.name}: {path}: no such file; pirl-certs makes one")
    elif not is_loopback(host):
        if not insecure:
            raise ValueError(
                f"transport.host: {host} can be reached from other machines; give "
                "transport.tls.{ca,cert,key} (pirl-certs makes them), or "
                "--transport.insecure=true on a network where you trust everybody"
            )
        logging.warning("transport.insecure: whoever reaches %s can send data to this run", host)


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine; names other than localhost count as remote."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def server_credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    """The learner's side; actors must show a certificate of the same authority."""
    ca, cert, key = _read(tls)
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)


def channel_credentials(tls: TlsConfig) -> grpc.ChannelCredentials:
    """An actor's side."""
    ca, cert, key = _read(tls)
    return grpc.ssl_channel_credentials(ca, key, cert)


def _read(tls: TlsConfig) -> tuple[bytes, bytes, bytes]:
    assert tls.ca is not None and tls.cert is not None and tls.key is not None  # check_exposure has passed
    return Path(tls.ca).read_bytes(), Path(tls.cert).read_bytes(), Path(tls.key).read_bytes()
