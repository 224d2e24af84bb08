"""What is wrong with certificates and keys is told before anybody calls, in our words and without what they hold."""

import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from pointsman.system.certificates import Credential, authority, issue, private_pem, sign
from pointsman.system.credentials import Files, Flaw, Found, Grade, Part, leads_to, look, names_address, nodes_of

NOW = datetime.now(UTC)
CA, OTHER = authority("ca", 365), authority("other", 365)
SERVER = issue(CA, "gw", server=True, days=90, alternatives=["192.0.2.9", "2001:db8::9"])
CLIENT = issue(CA, "n", server=False, days=90, alternatives=["urn:pointsman:node:shop"])


def written(folder: Path, certificate: str = SERVER.certificate, key: str = SERVER.key, ca: str = "") -> Files:
    files = Files(folder / "own.crt", folder / "own.key", folder / "ca.crt")
    for path, text in ((files.certificate, certificate), (files.key, key), (files.authority, ca or CA.certificate)):
        path.write_text(text)
        path.chmod(0o600)
    return files


def seen(files: Files, *, server: bool = True, days: float = 0) -> Found:
    return look(files, server=server, now=NOW + timedelta(days=days))


def told(found: Found) -> list[tuple[Part, Grade, str]]:
    return [(flaw.part, flaw.grade, flaw.label) for flaw in found.flaws]


def parsed(*texts: str) -> Sequence[x509.Certificate]:
    return [x509.load_pem_x509_certificate(text.encode()) for text in texts]


def middle(ca: Credential) -> Credential:
    """Make an authority in between, which `authority` does not."""
    key, signer = ec.generate_private_key(ec.SECP256R1()), parsed(ca.certificate)[0]
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "middle")]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=60))
    )
    return Credential(built.sign(_key(ca), hashes.SHA256()).public_bytes(Encoding.PEM).decode(), private_pem(key))


def _key(of: Credential) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(of.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def test_files_that_are_in_order_have_no_flaw_and_an_end(tmp_path: Path) -> None:
    found = seen(written(tmp_path))

    assert (found.flaws, found.unusable) == ((), "")
    assert found.until == parsed(SERVER.certificate)[0].not_valid_after_utc


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    files = written(tmp_path, certificate="none", key="none")
    files.authority.unlink()

    assert told(seen(files)) == [
        (Part.CERTIFICATE, Grade.UNUSABLE, "no-certificate"),
        (Part.KEY, Grade.UNUSABLE, "no-key"),
        (Part.AUTHORITY, Grade.UNUSABLE, "unreadable"),
    ]
    assert f"`{files.authority}` cannot be read: No such file or directory" in seen(files).unusable


def test_a_key_of_another_certificate_is_unusable(tmp_path: Path) -> None:
    files = written(tmp_path, key=CLIENT.key)

    assert told(seen(files)) == [(Part.KEY, Grade.UNUSABLE, "other-key")]
    assert f"`{files.key}` is not the key of `{files.certificate}`" in seen(files).unusable


def test_a_key_with_a_passphrase_is_unusable_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    locked = _key(SERVER).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()

    assert told(seen(written(tmp_path, key=locked))) == [(Part.KEY, Grade.UNUSABLE, "locked-key")]


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x28"),  # the version
        (b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x13"),  # an extension becomes a second one of a kind
        (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x08"),  # the curve
    ],
)
def test_a_certificate_that_is_damaged_inside_is_unusable(tmp_path: Path, there: bytes, instead: bytes) -> None:
    der = parsed(SERVER.certificate)[0].public_bytes(Encoding.DER)
    assert there in der
    damaged = ssl.DER_cert_to_PEM_cert(der.replace(there, instead))

    assert told(seen(written(tmp_path, damaged))) == [(Part.CERTIFICATE, Grade.UNUSABLE, "no-certificate")]


def test_a_named_pipe_holds_nobody_up(tmp_path: Path) -> None:
    files = written(tmp_path)
    files.certificate.unlink()
    os.mkfifo(files.certificate)

    assert told(seen(files)) == [(Part.CERTIFICATE, Grade.UNUSABLE, "no-certificate")]


@pytest.mark.parametrize("text", ["canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"])
def test_what_a_key_file_holds_is_never_repeated(tmp_path: Path, text: str) -> None:
    found = seen(written(tmp_path, key=text))

    assert told(found) == [(Part.KEY, Grade.UNUSABLE, "no-key")]
    assert not any(word in str(found.flaws) for word in ("canary", "Y2FuYXJ5"))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (-1, [(Part.CERTIFICATE, Grade.UNFIT, "not-yet-valid"), (Part.AUTHORITY, Grade.UNFIT, "not-yet-valid")]),
        (75.9, []),
        (76.1, [(Part.CERTIFICATE, Grade.WARNING, "ends-soon")]),
        (90.1, [(Part.CERTIFICATE, Grade.UNFIT, "expired")]),
        (352, [(Part.CERTIFICATE, Grade.UNFIT, "expired"), (Part.AUTHORITY, Grade.WARNING, "ends-soon")]),
        (366, [(Part.CERTIFICATE, Grade.UNFIT, "expired"), (Part.AUTHORITY, Grade.UNFIT, "expired")]),
    ],
)
def test_an_end_is_told_fourteen_days_before(
    tmp_path: Path, days: float, expected: list[tuple[Part, Grade, str]]
) -> None:
    assert told(seen(written(tmp_path), days=days)) == expected


def test_one_authority_that_is_good_is_enough_and_the_chain_is_as_good_as_its_worst(tmp_path: Path) -> None:
    short = authority("short", 1)
    files = written(tmp_path, SERVER.certificate + short.certificate, ca=short.certificate + CA.certificate)

    assert told(seen(files, days=2)) == [(Part.CERTIFICATE, Grade.UNFIT, "expired")]
    assert seen(files).until == parsed(short.certificate)[0].not_valid_after_utc


def test_an_authority_of_tomorrow_beside_one_of_today_is_in_order(tmp_path: Path) -> None:
    today = middle(CA)  # begins a day before the other, and ends before it
    files = written(tmp_path, today.certificate, today.key, ca=today.certificate + CA.certificate)

    assert told(seen(files, days=-0.5)) == []


def test_a_certificate_is_for_its_role_or_says_nothing_of_roles(tmp_path: Path) -> None:
    files = written(tmp_path)
    assert told(seen(files, server=False)) == [(Part.CERTIFICATE, Grade.UNFIT, "wrong-usage")]
    [flaw] = seen(files, server=False).flaws
    assert "`clientAuth`" in flaw.hint

    files = written(tmp_path, CLIENT.certificate, CLIENT.key)
    assert told(seen(files, server=True)) == [(Part.CERTIFICATE, Grade.UNFIT, "wrong-usage")]
    assert told(seen(files, server=False)) == []

    silent = middle(CA)
    files = written(tmp_path, silent.certificate, silent.key)
    assert (told(seen(files, server=True)), told(seen(files, server=False))) == ([], [])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, []),
        (0o400, []),
        (0o640, [(Part.KEY, Grade.WARNING, "open-key")]),
        (0o604, [(Part.KEY, Grade.UNFIT, "open-key")]),
        (0o666, [(Part.KEY, Grade.UNFIT, "open-key")]),
    ],
)
def test_a_private_key_is_open_to_its_owner_alone(
    tmp_path: Path, mode: int, expected: list[tuple[Part, Grade, str]]
) -> None:
    files = written(tmp_path)
    files.key.chmod(mode)

    assert told(seen(files)) == expected


def test_who_may_not_read_a_file_is_told_that_it_was_not_judged(tmp_path: Path) -> None:
    files, own = written(tmp_path), os.geteuid()
    for path in (files.certificate, files.key, files.authority):
        path.chmod(0)
    if own == 0:
        os.seteuid(65534)
    try:
        found = seen(files)
    finally:
        os.seteuid(own)

    assert told(found) == [(part, Grade.WARNING, "not-judged") for part in Part]


def test_a_flaw_says_what_to_do() -> None:
    assert str(Flaw(Part.KEY, Grade.UNFIT, "x", "it is so", "do that")) == "it is so; do that"


def test_a_server_is_looked_for_by_its_addresses_and_not_by_its_common_name() -> None:
    named, silent = parsed(SERVER.certificate, issue(CA, "192.0.2.9", server=True, days=1).certificate)

    assert [names_address(named, one) for one in ("192.0.2.9", "2001:db8::9", "192.0.2.8")] == [True, True, False]
    assert not names_address(silent, "192.0.2.9")


def test_a_node_is_named_by_a_urn() -> None:
    two = issue(CA, "n", server=False, days=1, alternatives=["urn:pointsman:node:a", "urn:pointsman:node:b", "a"])

    assert [nodes_of(one) for one in parsed(CLIENT.certificate, two.certificate, SERVER.certificate)] == [
        ("shop",),
        ("a", "b"),
        (),
    ]


def test_a_certificate_leads_to_who_signed_it_also_by_others_of_its_chain() -> None:
    between = middle(CA)
    below = issue(between, "n", server=False, days=1)
    [ca], [other], chain = parsed(CA.certificate), parsed(OTHER.certificate), parsed(below.certificate)
    whole = parsed(below.certificate, between.certificate)

    assert [leads_to(parsed(CLIENT.certificate), one) for one in ([ca], [other], [other, ca])] == [True, False, True]
    assert [leads_to(one, [ca]) for one in (chain, whole)] == [False, True]
    assert not leads_to(whole, [other])


def test_an_authority_of_the_same_name_with_another_key_signed_nothing() -> None:
    assert not leads_to(parsed(CLIENT.certificate), parsed(authority("ca", 1).certificate))


def test_keys_of_another_kind_are_judged_too(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = sign(CA, key.public_key(), "gw", server=True, days=90)

    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    assert told(seen(written(tmp_path, certificate, text))) == []
    assert told(seen(written(tmp_path, certificate))) == [(Part.KEY, Grade.UNUSABLE, "other-key")]
