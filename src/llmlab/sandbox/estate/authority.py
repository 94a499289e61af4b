"""The certificate authority of Docker mode, which signs the TLS certificate for AWS's own host names.

It is created once and kept, because the training image in the sandbox's registry trusts it. Only images built here do.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmlab.sandbox.catalogue import FACTORS

VALID = timedelta(days=825)
"""The longest validity that TLS clients accept of a certificate."""
RENEW = timedelta(days=30)
DOMAIN = "amazonaws.com"
PLACES = ("", "s3.", "ecr.", "dkr.ecr.")
"""Prefixes of a region's host names: one wildcard covers one label, and buckets and accounts come before these."""


def names(regions: Sequence[str] = tuple(FACTORS)) -> list[str]:
    """Every host name (with wildcards) that the sandbox answers to."""
    return [f"*.{DOMAIN}", f"*.s3.{DOMAIN}", *(f"*.{place}{region}.{DOMAIN}" for region in regions for place in PLACES)]


class Authority:
    """The authority's certificate and one for the services, in a folder: `authority.pem`, `services.pem`, `services.key`."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "authority.pem"
        self.services = folder / "services.pem"
        self.key = folder / "services.key"
        self.folder = folder

    def make(self, now: datetime) -> None:
        """Create the certificates, unless they exist, are valid for another `RENEW` and cover the same names."""
        if self._valid(now):
            return
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        own, services = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority = _certificate("llmlab sandbox", own.public_key(), own, now, issuer="llmlab sandbox", alternatives=())
        leaf = _certificate(DOMAIN, services.public_key(), own, now, issuer="llmlab sandbox", alternatives=names())
        _write(self.key, _private(services), 0o600)
        _write(self.services, leaf, 0o644)
        _write(self.certificate, authority, 0o644)  # last: its presence means that all exist. The authority's key is not kept

    def _valid(self, now: datetime) -> bool:
        from cryptography import x509

        if not all(path.exists() for path in (self.certificate, self.services, self.key)):
            return False
        leaf = x509.load_pem_x509_certificate(self.services.read_bytes())
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        return alternatives == names() and leaf.not_valid_after_utc - RENEW > now.astimezone(UTC)


def _certificate(name: str, public: Any, signer: Any, now: datetime, *, issuer: str, alternatives: Sequence[str]) -> bytes:
    """A signed certificate as PEM. Without alternative names it is an authority's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    def common(text: str) -> Any:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().subject_name(common(name)).issuer_name(common(issuer)).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + VALID)
    builder = builder.add_extension(x509.BasicConstraints(ca=not alternatives, path_length=None), critical=True)
    if alternatives:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(alternative) for alternative in alternatives]), critical=False
        )
    signed: bytes = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return signed


def _private(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    text: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return text


def _write(path: Path, data: bytes, mode: int) -> None:
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
        stream.write(data)
    part.replace(path)
