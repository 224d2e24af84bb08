"""A gateway file and the files that it names are judged together; each problem has its place in the gateway file."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pointsman.gateway.check import Verdict, judge, start
from pointsman.gateway.config import read_gateway
from pointsman.model.gateway import Gateway
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind
from pointsman.system.certificates import Credential, authority, issue

NOW = datetime.now(UTC)
ADDRESS = "192.0.2.21"
NODES, GATEWAYS = authority("nodes", 365), authority("gateways", 365)
OWN = issue(GATEWAYS, "gw", server=True, days=90, alternatives=[ADDRESS])
NODE = issue(NODES, "n", server=False, days=90, alternatives=["urn:pointsman:node:shop"])
API = {
    "listen": [ADDRESS],
    "certificate": "gw.crt",
    "key": "gw.key",
    "nodes": "nodes.crt",
    "secret": "shared.secret",
    "secrets": {"shop": "shop.secret"},
}
SITE = {
    "apiVersion": "pointsman/v1",
    "kind": "Gateway",
    "user": 64002,
    "uplinks": ["eth1"],
    "api": API,
    "wireguard": {"address": ADDRESS, "networks": ["10.71.0.0/24"]},
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write a gateway file with all that it names."""
    secret = base64.b64encode(bytes(32)).decode()
    texts = {"gw.crt": OWN.certificate, "gw.key": OWN.key, "nodes.crt": NODES.certificate}
    texts |= {"shared.secret": secret, "shop.secret": secret, "gateway.yaml": yaml.safe_dump(SITE, sort_keys=False)}
    texts |= {"node.crt": NODE.certificate, "node.key": NODE.key, "gateways.crt": GATEWAYS.certificate}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path / "gateway.yaml"


def verdict(site: Path, *askers: Gateway, days: float = 0) -> Verdict:
    return judge(read_gateway(site), NOW + timedelta(days=days), askers)


def found(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    """Return the label of each problem, and the line of the gateway file that it is about."""
    [file] = {problem.place.file for problem in problems} or {""}
    lines = Path(file).read_text().splitlines() if file else []
    return sorted((one.label, lines[one.place.line - 1].strip().partition(":")[0]) for one in problems)


def asker(site: Path, address: str = ADDRESS) -> Gateway:
    """Return how a node asks this gateway."""
    ca, certificate, key = (str(site.with_name(name)) for name in ("gateways.crt", "node.crt", "node.key"))
    return Gateway("gw", address, 7443, Kind.WIREGUARD, Level.STRONG, (), ca, certificate, key)


def changed(site: Path, **fields: object) -> None:
    site.write_text(yaml.safe_dump({**SITE, **fields}, sort_keys=False))


def test_a_gateway_in_order_has_nothing_against_it(site: Path) -> None:
    until = x509.load_pem_x509_certificate(OWN.certificate.encode()).not_valid_after_utc

    assert verdict(site, asker(site)) == Verdict((), (), (), until)
    gateway, notes = start(site, NOW)
    assert (gateway.name, notes) == ("gateway", ())


def test_a_gateway_that_no_node_asks_needs_no_certificate(site: Path) -> None:
    changed(site, api=None)

    assert verdict(site) == Verdict(())


def test_problems_of_the_file_and_of_all_files_in_it_are_told_at_once(site: Path) -> None:
    changed(site, wireguard={"address": ADDRESS, "networks": ["x"]})
    site.with_name("gw.crt").unlink()
    site.with_name("gw.key").write_text("none")
    site.with_name("shop.secret").unlink()
    seen = verdict(site)

    assert found(seen.stops) == [("malformed", "- x"), ("no-key", "key"), ("unreadable", "certificate")]
    assert found(seen.unfit) == [("secret-unfit", "shop")]


def test_what_keeps_it_from_starting_is_the_same_at_the_start(site: Path) -> None:
    site.with_name("nodes.crt").write_text("none")
    with pytest.raises(Invalid) as invalid:
        start(site, NOW)

    assert invalid.value.problems == verdict(site).stops
    assert found(invalid.value.problems) == [("no-certificate", "nodes")]


def test_a_user_that_is_not_there_keeps_it_from_starting(site: Path) -> None:
    changed(site, user="nobody-of-that-name")
    with pytest.raises(Invalid, match="does not exist here"):
        start(site, NOW)

    assert verdict(site).stops == ()
    site.with_name("nodes.crt").write_text("none")
    with pytest.raises(Invalid) as invalid:
        start(site, NOW)
    assert [problem.label for problem in invalid.value.problems] == ["unfit-user", "no-certificate"]


def test_a_certificate_that_has_ended_is_told_and_does_not_end_the_tunnels_of_the_operator(site: Path) -> None:
    assert found(verdict(site, days=91).unfit) == [("expired", "certificate")]
    assert found(verdict(site, days=80).warnings) == [("ends-soon", "certificate")]
    for days, label in ((91, "expired"), (80, "ends-soon")):
        _, notes = start(site, NOW + timedelta(days=days))
        assert [note.label for note in notes] == [label]


def test_the_certificate_names_every_address_that_nodes_dial(site: Path) -> None:
    changed(site, openvpn={"address": "192.0.2.22", "networks": ["10.73.0.0/24"]})
    [problem] = verdict(site).unfit

    assert found((problem,)) == [("wrong-name", "certificate")]
    assert "does not name 192.0.2.22" in problem.what
    assert "subjectAltName=IP:192.0.2.22" in problem.hint


def test_a_key_that_tls_will_not_have_is_told_before_the_start(site: Path) -> None:
    short = weak(ADDRESS)
    site.with_name("gw.crt").write_text(short.certificate)
    site.with_name("gw.key").write_text(short.key)

    assert [problem.label for problem in verdict(site).stops] == ["api-certificate"]


def test_the_files_of_a_node_and_of_its_gateway_suit_each_other(site: Path) -> None:
    site.with_name("node.crt").write_text(issue(GATEWAYS, "n", server=False, days=90).certificate)
    site.with_name("gateways.crt").write_text(NODES.certificate)

    assert found(verdict(site, asker(site)).unfit) == [("other-authority", "certificate"), ("other-authority", "nodes")]


def test_what_cannot_be_read_of_a_node_is_not_taken_for_right(site: Path) -> None:
    site.with_name("node.crt").unlink()
    seen = verdict(site, asker(site))

    assert (seen.unfit, found(seen.warnings)) == ((), [("not-judged", "nodes")])


def test_a_node_that_asks_elsewhere_does_not_ask_this_gateway(site: Path) -> None:
    assert [one.label for one in verdict(site, asker(site, "192.0.2.99")).unfit] == ["not-asked"]
    other = replace(asker(site, "192.0.2.99"), ca=str(site.with_name("nodes.crt")))
    assert verdict(site, other, asker(site)).unfit == ()

    changed(site, api=None)
    assert [one.label for one in verdict(site, asker(site)).unfit] == ["missing-field"]


def test_no_secret_is_repeated(site: Path) -> None:
    for name in ("gw.key", "shared.secret"):
        site.with_name(name).write_text("canary")
    seen = verdict(site)

    assert len(seen.stops) == len(seen.unfit) == 1
    assert "canary" not in str(seen)
    assert all(problem.place > Place(str(site)) for problem in (*seen.stops, *seen.unfit))


def weak(address: str) -> Credential:
    """Make a key that is too short for the TLS library, and a certificate for it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(90))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Credential(made.public_bytes(Encoding.PEM).decode(), private)
