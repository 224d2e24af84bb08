"""The keys of a tunnel's ends."""

import pytest
from cryptography import x509

from pointsman.tunnels.keys import certificate_key, signing_request, wireguard_private, wireguard_public


def test_the_public_half_of_a_key_is_that_of_the_rfc() -> None:
    private, public = (  # RFC 7748, 6.1
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
    )

    assert wireguard_public(private) == public
    assert wireguard_public(wireguard_private()) != wireguard_public(wireguard_private())


@pytest.mark.parametrize("text", ["", "AAAA", "?" * 44])
def test_what_is_no_key_has_no_public_half(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wireguard_public(text)


def test_a_signing_request_is_signed_by_its_key_and_bears_its_name() -> None:
    found = [x509.load_pem_x509_csr(signing_request(certificate_key(), name).encode()) for name in ("", "gw-1")]

    assert all(one.is_signature_valid for one in found)
    assert [one.subject.rfc4514_string() for one in found] == ["", "CN=gw-1"]
