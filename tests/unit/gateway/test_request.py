import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pointsman.gateway.admission import Reason, Refused
from pointsman.gateway.grant import Request
from pointsman.gateway.request import MOST_REASONS, read_renewal, read_request, signed_key
from pointsman.model.profile import Qos
from pointsman.model.tunnel import Kind
from pointsman.system.certificates import private_pem
from pointsman.tunnels.keys import certificate_key, signing_request
from tests.unit.gateway.samples import key

OWN = key(9)
MANY = Refused((Reason("malformed", f"{MOST_REASONS + 1} things are wrong with it"),))
GOOD = {"kind": "wireguard", "public_key": key(1), "preshared": True, "bandwidth": 8000, "qos": "bulk", "ttl": 60}


def read(shared: str = key(2), **changed: object) -> Request | Refused:
    return read_request("alpha", "a", json.dumps({**GOOD, **changed}).encode(), OWN, lambda public: shared)


def test_a_request_is_read_and_its_preshared_key_does_not_show() -> None:
    found = read()

    assert isinstance(found, Request)
    assert (found.key, found.kind, found.identity) == (("alpha", "a"), Kind.WIREGUARD, key(1))
    assert (found.preshared_key, found.bandwidth, found.qos, found.ttl) == (key(2), 8000, Qos.BULK, 60)
    assert key(2) not in repr(found)


def test_without_the_asking_no_key_is_mixed_in() -> None:
    found = read(preshared=False)

    assert isinstance(found, Request)
    assert found.preshared_key == ""


@pytest.mark.parametrize(
    ("changed", "labels"),
    [
        ({"public_key": "AAAA"}, ["bad-key"]),
        ({"public_key": key(0)}, ["bad-key"]),
        ({"public_key": OWN}, ["bad-key"]),
        ({"shared": ""}, ["no-secret"]),
        ({"preshared_key": key(2)}, ["malformed"]),
        ({"kind": "ipsec"}, ["kind-not-offered"]),
        ({"ttl": 0, "bandwidth": 1, "qos": "fast"}, ["malformed"] * 3),
        ({"ttl": True}, ["malformed"]),
        ({"more": 1}, ["malformed"]),
        ({"kind": "openvpn"}, ["malformed"] * 3),
    ],
)
def test_what_is_wrong_is_told_all_at_once(changed: dict[str, Any], labels: list[str]) -> None:
    found = read(**changed)

    assert isinstance(found, Refused)
    assert [reason.label for reason in found.reasons] == labels


def test_what_is_wrong_in_more_places_than_a_mistake_has_is_counted_and_not_told() -> None:
    many = {str(number): number for number in range(MOST_REASONS)}
    enough, renewal = read(**many), json.dumps({"ids": list(range(9)), "ttl": 60, **many}).encode()

    assert isinstance(enough, Refused)
    assert len(enough.reasons) == MOST_REASONS
    assert read(more=1, **many) == read_renewal(renewal) == MANY


def test_a_renewal_that_names_no_tunnels_is_refused_for_the_first_of_them() -> None:
    found = read_renewal(b'{"ids": [1, 2, 3], "ttl": 0}')

    assert isinstance(found, Refused)
    assert [reason.what.split(":")[0] for reason in found.reasons] == ["`ids.0`", "`ttl`"]


def test_a_body_that_is_no_json_is_refused_and_not_repeated() -> None:
    found = read_request("alpha", "a", b'{"public_key": "canary"', OWN, lambda public: "")

    assert isinstance(found, Refused)
    assert "canary" not in str(found)


def test_a_certificate_is_named_after_node_tunnel_and_key() -> None:
    keys = [certificate_key() for _ in range(2)]
    names = {
        found.identity
        for owner, name, private in (("alpha", "a", keys[0]), ("alpha", "a", keys[1]), ("beta", "a", keys[0]))
        for found in (read_request(owner, name, csr_body(signing_request(private)), OWN, lambda public: ""),)
        if isinstance(found, Request)
    }

    assert len(names) == 3
    assert all(len(name) < 64 for name in names)


def test_a_signing_request_that_was_changed_is_refused() -> None:
    good = signing_request(certificate_key())
    lines = good.splitlines()
    lines[-2] = lines[-2][:-8] + ("AAAA" if lines[-2][-8:-4] != "AAAA" else "BBBB") + lines[-2][-4:]

    assert signed_key(good) is not None
    assert signed_key("\n".join(lines)) is None
    assert (
        signed_key(signing_request(private_pem(ec.generate_private_key(ec.SECP521R1())))) is None
    )  # too rare to be let in
    assert signed_key("no PEM at all") is None


def csr_body(csr: str) -> bytes:
    return json.dumps({"kind": "openvpn", "csr": csr, "ttl": 60}).encode()
