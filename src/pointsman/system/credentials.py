"""The files by which an end of a connection proves who it is, and by which it believes the other: what is wrong there.

What makes a certificate good is RFC 5280. No flaw repeats what a file says, or what a library said about it.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from pointsman.system.files import read_small

SOON = timedelta(days=14)
_LARGEST = 1 << 20
_NODE = re.compile(r"urn:pointsman:node:([A-Za-z0-9][A-Za-z0-9._-]{0,62})")
_GROUP, _OTHERS = 0o070, 0o007
_NO_CERTIFICATE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Part(Enum):
    """Which file it is: what proves this end, its private key, or who signs for the other end."""

    CERTIFICATE = "certificate"
    KEY = "key"
    AUTHORITY = "authority"


class Grade(Enum):
    """How bad it is: nothing starts with it; the other end or its owner will not have it; it may or will be so soon."""

    UNUSABLE = "unusable"
    UNFIT = "unfit"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with one of the files, and how to mend it. `label` is stable and meant for programs."""

    part: Part
    grade: Grade
    label: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return self.what + (f"; {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one end. In `certificate` those of authorities in between may follow."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class Found:
    """The certificates that could be read, and what is wrong with the files."""

    files: Files
    chain: tuple[x509.Certificate, ...]
    authorities: tuple[x509.Certificate, ...]
    flaws: tuple[Flaw, ...]

    @property
    def until(self) -> datetime | None:
        """Return when this end proves itself no more, None where its certificate could not be read."""
        return min((one.not_valid_after_utc for one in self.chain), default=None)

    @property
    def unusable(self) -> str:
        """Return why nothing can be started with the files; empty where it can."""
        return "; ".join(str(flaw) for flaw in self.flaws if flaw.grade is Grade.UNUSABLE)


def look(files: Files, *, server: bool, now: datetime) -> Found:
    """Read the files of a server or of a client, and judge each of them, and certificate and key together."""
    chain = _certificates(Part.CERTIFICATE, files.certificate)
    key = _public_half(files.key)
    authorities = _certificates(Part.AUTHORITY, files.authority)
    flaws = [one for one in (chain, key, authorities) if isinstance(one, Flaw)]
    if not isinstance(chain, Flaw):
        flaws += _time_flaws(Part.CERTIFICATE, files.certificate, chain, now)
        flaws += _usage_flaws(files.certificate, chain[0], server)
        if isinstance(key, bytes) and key != chain[0].public_key().public_bytes(*_SPKI):
            what = f"`{files.key}` is not the key of `{files.certificate}`"
            flaws.append(Flaw(Part.KEY, Grade.UNUSABLE, "other-key", what, "the first certificate there counts"))
    if not isinstance(authorities, Flaw):
        good = [one for one in authorities if one.not_valid_before_utc <= now <= one.not_valid_after_utc]
        last = max(good or authorities, key=lambda one: one.not_valid_after_utc)
        flaws += _time_flaws(Part.AUTHORITY, files.authority, [last], now)
    flaws += _mode_flaws(files.key)
    return Found(
        files,
        () if isinstance(chain, Flaw) else chain,
        () if isinstance(authorities, Flaw) else authorities,
        tuple(flaws),
    )


def names_address(certificate: x509.Certificate, address: str) -> bool:
    """Return whether a certificate is for a host at this address; its common name does not count (RFC 9525)."""
    names = _alternatives(certificate)
    return names is not None and ip_address(address) in names.get_values_for_type(x509.IPAddress)


def node_names(uris: Sequence[str]) -> tuple[str, ...]:
    """Return the names of nodes among the URIs that a certificate is for."""
    return tuple(match[1] for match in map(_NODE.fullmatch, uris) if match)


def nodes_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names of nodes that a certificate is for. There should be exactly one."""
    names = _alternatives(certificate)
    return () if names is None else node_names(names.get_values_for_type(x509.UniformResourceIdentifier))


def leads_to(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> bool:
    """Return whether one of these authorities signed the first certificate, itself or by others of the chain.

    Only signatures and names of issuers are followed: whatever else the far end asks, it tells when it is called.
    """
    reached, ahead = [*chain[:1]], [*chain[1:]]
    for one in reached:
        if any(_signed(one, issuer) for issuer in authorities):
            return True
        above = [issuer for issuer in ahead if _signed(one, issuer)]
        ahead = [issuer for issuer in ahead if issuer not in above]
        reached += above
    return False


def _content(part: Part, path: Path) -> bytes | Flaw:
    try:
        return read_small(path, _LARGEST)[0]
    except PermissionError as error:
        if os.geteuid() == 0:
            return _unreadable(part, path, error)
        return Flaw(part, Grade.WARNING, "not-judged", f"`{path}` is not judged: only its owner and root may read it")
    except OSError as error:
        return _unreadable(part, path, error)


def _unreadable(part: Part, path: Path, error: OSError) -> Flaw:
    return Flaw(part, Grade.UNUSABLE, "unreadable", f"`{path}` cannot be read: {error.strerror}")


def _certificates(part: Part, path: Path) -> tuple[x509.Certificate, ...] | Flaw:
    content = _content(part, path)
    if isinstance(content, Flaw):
        return content
    try:
        found = tuple(x509.load_pem_x509_certificates(content))
        for one in found:
            # what is malformed inside is found only when it is asked for
            _ = one.extensions, one.public_key()
    except _NO_CERTIFICATE:
        what = f"`{path}` holds no certificate in PEM, or a damaged one"
        return Flaw(part, Grade.UNUSABLE, "no-certificate", what, f"`openssl x509 -noout -text -in {path}` shows one")
    return found


def _public_half(path: Path) -> bytes | Flaw:
    content = _content(Part.KEY, path)
    if isinstance(content, Flaw):
        return content
    try:
        return load_pem_private_key(content, None).public_key().public_bytes(*_SPKI)
    except TypeError:
        what, hint = f"`{path}` is locked with a passphrase", "nobody can be asked for one; `openssl pkey` takes it off"
        return Flaw(Part.KEY, Grade.UNUSABLE, "locked-key", what, hint)
    except (ValueError, UnsupportedAlgorithm):
        return Flaw(Part.KEY, Grade.UNUSABLE, "no-key", f"`{path}` holds no private key in PEM, or a damaged one")


def _mode_flaws(path: Path) -> Iterator[Flaw]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & (_OTHERS | _GROUP):
        grade, whom = (Grade.UNFIT, "all users") if mode & _OTHERS else (Grade.WARNING, "its group")
        yield Flaw(Part.KEY, grade, "open-key", f"`{path}` is open to {whom}", f"try: chmod 600 {path}")


def _time_flaws(part: Part, path: Path, all_of: Sequence[x509.Certificate], now: datetime) -> Iterator[Flaw]:
    begins = max(one.not_valid_before_utc for one in all_of)
    ends = min(one.not_valid_after_utc for one in all_of)
    if begins > now:
        what = f"`{path}` is not valid before {_day(begins)}"
        yield Flaw(part, Grade.UNFIT, "not-yet-valid", what, f"this host's clock says {_day(now)}; is it right?")
    if ends < now:
        yield Flaw(part, Grade.UNFIT, "expired", f"`{path}` ended on {_day(ends)}", "have a new one signed")
    elif ends < now + SOON:
        yield Flaw(part, Grade.WARNING, "ends-soon", f"`{path}` ends on {_day(ends)}", "have a new one signed")


def _usage_flaws(path: Path, certificate: x509.Certificate, server: bool) -> Iterator[Flaw]:
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    name, role = ("serverAuth", "server") if server else ("clientAuth", "client")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if wanted not in usage:
        what, hint = f"`{path}` is not for a {role}", f"its extended key usage has to have `{name}`, or to be left out"
        yield Flaw(Part.CERTIFICATE, Grade.UNFIT, "wrong-usage", what, hint)


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
