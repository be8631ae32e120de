"""Certificates for a Dask cluster: whoever reaches a scheduler runs code there, so both sides must show one.

The authority signs these three and its key is never written: no further certificate can be made, by nobody. A cluster
that needs another host gets a new set.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tiling.errors import CertificateError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY: Final = "ca.pem"
SCHEDULER, WORKER, CLIENT = "scheduler", "worker", "client"
DAYS: Final = 365
CLOCK_SKEW: Final = dt.timedelta(minutes=10)
"""Clocks of machines differ; a certificate that is valid from now on would be refused by the slow ones."""


def certificate_files(folder: Path, role: str) -> tuple[Path, Path, Path]:
    """The files that one side needs.

    Args:
        folder: Made by `make_certificates`.
        role: `scheduler`, `worker` or `client`.

    Returns:
        Authority, certificate, key.

    Raises:
        CertificateError: If one is missing.
    """
    files = (folder / AUTHORITY, folder / f"{role}.pem", folder / f"{role}-key.pem")
    if not all(file.is_file() for file in files):
        msg = f"the folder lacks {files[0].name}, {files[1].name} or {files[2].name}; see `oncoscope cluster certs`"
        raise CertificateError(msg)
    return files


def make_certificates(out: Path, hosts: Sequence[str] = (), days: int = DAYS) -> tuple[Path, ...]:
    """Make an authority and certificates of a scheduler, its workers and its clients.

    Args:
        out: Folder that is made; only its owner can read it.
        hosts: Names and addresses of the scheduler and the workers; this machine is always among them.
        days: How long they are valid.

    Returns:
        The files.

    Raises:
        CertificateError: If the folder exists, the days are none, or the `cryptography` package is not installed.
    """
    if days < 1:
        msg = "certificates are valid for one day at least"
        raise CertificateError(msg)
    files = _sign_all([*hosts, "localhost", "127.0.0.1", "::1", socket.gethostname()], days)
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        staging.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            (staging / name).touch(mode=0o600)  # before there is anything to read in it
            (staging / name).write_bytes(content)
        staging.rename(out)  # fails where there is anything
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        msg = "the folder for the certificates exists, or cannot be written; nothing was changed"
        raise CertificateError(msg) from error
    return tuple(out / name for name in files)


def _sign_all(hosts: Sequence[str], days: int) -> dict[str, bytes]:
    """Every file by its name.

    Raises:
        CertificateError: If the `cryptography` package is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError as error:
        msg = "certificates are made by the cryptography package: pip install 'oncoscope[cluster]'"
        raise CertificateError(msg) from error
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("oncoscope cluster authority", authority_key, days)
    files = {AUTHORITY: authority.public_bytes(Encoding.PEM)}
    for role in (SCHEDULER, WORKER, CLIENT):
        key = ec.generate_private_key(ec.SECP256R1())
        names = hosts if role != CLIENT else ()
        signed = _certificate(f"oncoscope {role}", key, days, signer=(authority, authority_key), hosts=names)
        files[f"{role}.pem"] = signed.public_bytes(Encoding.PEM)
        files[f"{role}-key.pem"] = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return files


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate; one without a signer is the authority, one without hosts can only be a client."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = (signer[0].subject, signer[1]) if signer else (subject, key)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509
        .CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None if signer else 0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if signer is None:
        builder = builder.add_extension(_signs_only(), critical=True)
    else:
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if hosts:
        names = [_general_name(host) for host in dict.fromkeys(hosts)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _signs_only() -> x509.KeyUsage:
    """What the authority's key is for: certificates, nothing else."""
    from cryptography.x509 import KeyUsage

    others = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return KeyUsage(key_cert_sign=True, **dict.fromkeys(others, False))


def _general_name(host: str) -> x509.GeneralName:
    """A host as certificates write it."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
