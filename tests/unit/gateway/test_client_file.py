"""The files that `add` writes are such as our own parsers accept, at the level that the kind can give."""

from dataclasses import replace

import pytest

from pointsman.gateway import client_file
from pointsman.gateway.admission import Admitted, admit
from pointsman.gateway.grant import State
from pointsman.gateway.keys import Authority, Secrets
from pointsman.model.profile import Level, Qos
from pointsman.model.tunnel import Kind
from pointsman.system.certificates import authority, issue
from pointsman.tunnels.levels import level_given
from pointsman.tunnels.ovpn import parse_ovpn
from pointsman.tunnels.wgquick import parse_wgquick
from tests.unit.gateway.samples import CAPACITY, SITE, key

CA = authority("tunnels", 1)
SECRETS = Secrets(key(9), Authority(CA, issue(CA, "gw", server=True, days=1)))


def written(kind: Kind) -> str:
    draft = client_file.draft("office", kind, None, Qos.DEFAULT)
    decided = admit(draft.request, State(), CAPACITY, 0)
    assert isinstance(decided, Admitted)
    grant = decided.grant
    if kind is Kind.OPENVPN:
        grant = replace(grant, certificate=SECRETS.authority.sign(draft.request.csr, draft.request.identity))
    return client_file.text(draft, grant, next(site for site in SITE.servers if site.kind is kind), SECRETS)


def test_a_wireguard_file_is_one_that_we_read_and_keeps_what_is_said_today_from_later_computers() -> None:
    found = parse_wgquick(written(Kind.WIREGUARD), "office.conf")

    assert (found.notes, found.spec.addresses, found.spec.mtu) == ((), ("10.71.0.2", "fd71::2"), 1420)
    assert found.spec.endpoints == (SITE.servers[0].endpoint,)
    assert level_given(found.spec).level is Level.QUANTUM


def test_an_openvpn_file_is_one_that_we_read_and_pins_the_gateway() -> None:
    found = parse_ovpn(written(Kind.OPENVPN), "office.ovpn", _nothing)

    assert found.spec.endpoints == (SITE.servers[1].endpoint,)
    assert level_given(found.spec).level is Level.STRONG


def test_no_file_is_written_for_a_kind_that_has_no_gateway() -> None:
    with pytest.raises(ValueError, match="direct"):
        client_file.draft("office", Kind.DIRECT, None, Qos.DEFAULT)


def _nothing(path: str) -> str:
    raise AssertionError(path)
