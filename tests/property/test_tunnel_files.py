"""No tunnel file, however hostile, does anything but give a spec or a list of problems."""

from contextlib import suppress
from ipaddress import ip_address
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.tunnels.ovpn import Ovpn, Read, parse_ovpn
from pointsman.tunnels.ovpn_config import configuration
from pointsman.tunnels.ovpn_rules import BLOCKS, KNOWN
from pointsman.tunnels.ovpn_words import split_words
from pointsman.tunnels.wgquick import parse_wgquick
from tests.unit.tunnels.samples import OPENVPN, PRIVATE, SHARED, WIREGUARD, said

EVIL = st.sampled_from(
    ["up /bin/evil", "script-security 2", "plugin evil", '"', "'", "\\", "</ca>", "<key>", "\r", "\x00", "#", " "]
)
LINE = st.one_of(EVIL, st.text(max_size=30), st.sampled_from(sorted([*KNOWN, *BLOCKS])))
LINES = st.lists(LINE, max_size=6)
HOSTS = ("203.0.113.5", "[2001:DB8::5]", "2001:DB8::5", "fe80::1%eth0", "gw.example", "0.0.0.0", "::1", "")
SIGNS = st.sampled_from([" = ", " = ", "=", " ", "", " = 0"])


def spliced(text: str, lines: list[str], at: int) -> str:
    kept = text.splitlines()
    return "\n".join([*kept[: at % (len(kept) + 1)], *lines, *kept[at % (len(kept) + 1) :]])


def test_the_addresses_of_a_wireguard_file_are_addresses() -> None:
    taken = 0
    for inner, length, outer, port in product(HOSTS, ("", "/24", "/64", "/129", "/x"), HOSTS, (51820, 1, 0, 65536)):
        own = WIREGUARD.replace("10.71.0.2/24, fd71::2/64", inner + length)
        with suppress(Invalid):
            spec = parse_wgquick(own.replace("203.0.113.5:51820", f"{outer}:{port}"), "wg.conf").spec
            [address], [endpoint] = spec.addresses, spec.endpoints
            assert str(ip_address(address)) == address
            assert str(ip_address(endpoint.address)) == endpoint.address
            assert 0 < endpoint.port < 65536
            taken += 1
    assert taken


@given(SIGNS, SIGNS, LINES, st.integers(0, 20))
def test_a_wireguard_file_gives_a_spec_or_problems_without_its_keys(
    first: str, second: str, lines: list[str], at: int
) -> None:
    text = WIREGUARD.replace(f" = {PRIVATE}", f"{first}{PRIVATE}") + f"PresharedKey{second}{SHARED}\n"
    found = said("wireguard", spliced(text, lines, at))
    assert [secret for secret in (PRIVATE, SHARED) if secret in found] == []


@given(LINES, st.integers(0, 20), st.text(max_size=200))
def test_an_openvpn_file_never_gets_a_program_run(lines: list[str], at: int, named: str) -> None:
    def read(name: str) -> str:
        if len(name) % 2:
            raise Fault("file", name, "no such file")
        return named + "\nup /bin/evil\n</ca>\n</key>\n"

    found = answer(spliced(OPENVPN, lines, at), read)
    assert "U0VDUkVU" not in repr(found)
    if isinstance(found, Ovpn):
        assert all(str(ip_address(endpoint.address)) == endpoint.address for endpoint in found.spec.endpoints)
        made = configuration(found.spec, "pm0").splitlines()
        names = [(split_words(line) or [""])[0] for line in made]
        assert not {"up", "plugin", "down", "route-up", "tls-verify", "ipchange", "iproute"} & set(names)
        assert names.count("script-security") == 1


def answer(text: str, read: Read) -> Ovpn | Invalid:
    try:
        return parse_ovpn(text, "c.ovpn", read)
    except Invalid as invalid:
        return invalid


@given(st.text(max_size=300))
def test_any_text_is_refused(text: str) -> None:
    for parse in (lambda: parse_wgquick(text, "f"), lambda: parse_ovpn(text, "f", lambda _: text)):
        with suppress(Invalid):
            parse()
            raise AssertionError("it was taken")
