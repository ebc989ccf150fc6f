"""A certificate authority for development, and one certificate each for the learner and for the actors.

`pirl-certs --out certs --hosts learner.example,10.0.0.5`
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SIDES = ("learner", "actor")


def make_certificates(out: Path, hosts: list[str], days: int = 30) -> list[Path]:
    """Write `ca.pem` and, for each side, `<side>.pem` and `<side>.key`; the authority's own key is not kept.

    Args:
        out: folder, which must not hold certificates yet.
        hosts: names and addresses under which actors reach the learner.
        days: how long they are valid.

    Returns:
        The files written.

    Raises:
        FileExistsError: when the folder already holds an authority.
    """
    if (out / "ca.pem").exists():
        raise FileExistsError(f"--out: {out} already holds ca.pem; remove it, or choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("pirl development CA")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    written = [_write(out / "ca.pem", authority.public_bytes(Encoding.PEM), 0o644)]
    for side in SIDES:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(f"pirl {side}"), authority_name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        written.append(_write(out / f"{side}.pem", certificate.public_bytes(Encoding.PEM), 0o644))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        written.append(_write(out / f"{side}.key", private, 0o600))
    return written


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes, mode: int) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def main(args: list[str] | None = None) -> None:
    """Console entry of `pirl-certs`."""
    parser = argparse.ArgumentParser(prog="pirl-certs", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="new folder for the PEM files")
    parser.add_argument(
        "--hosts", default="localhost,127.0.0.1", help="comma-separated names and addresses of the learner"
    )
    parser.add_argument("--days", type=int, default=30, help="days of validity (default: %(default)s)")
    parsed = parser.parse_args(args)
    try:
        written = make_certificates(parsed.out, parsed.hosts.split(","), parsed.days)
    except OSError as error:
        sys.exit(f"pirl-certs: {error}")
    for path in written:
        print(path)
    print("Give the learner ca.pem and learner.{pem,key}, every actor ca.pem and actor.{pem,key}:")
    print(f"  --transport.tls.ca={parsed.out}/ca.pem --transport.tls.cert={parsed.out}/learner.pem "
          f"--transport.tls.key={parsed.out}/learner.key")  # fmt: skip


if __name__ == "__main__":
    main()
