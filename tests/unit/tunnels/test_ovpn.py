from contextlib import suppress

import pytest

from pointsman.model.problem import Invalid
from pointsman.model.tunnel import Endpoint
from pointsman.tunnels.ovpn_config import configuration
from pointsman.tunnels.ovpn_rules import REFUSED
from pointsman.tunnels.ovpn_words import split_words
from pointsman.tunnels.port import OpenvpnSpec
from tests.unit.tunnels.samples import FINGERPRINT, OPENVPN, openvpn, pem, problems, said


def test_a_plain_file_is_read_as_it_is_written() -> None:
    settings = (("client",), ("dev", "tun"), ("remote-cert-tls", "server"))
    blocks = (("ca", pem("CERTIFICATE")), ("cert", pem("CERTIFICATE")), ("key", pem("PRIVATE KEY", "U0VDUkVU")))

    assert openvpn().spec == OpenvpnSpec((Endpoint("203.0.113.6", 1194, "udp"),), settings, blocks, 1400)
    assert openvpn().notes == ()


def test_the_gateway_may_be_said_in_pieces() -> None:
    text = OPENVPN.replace(
        "remote 203.0.113.6 1194 udp", "proto tcp-client\nport 443\nremote 2001:DB8::6\nremote 203.0.113.6 1 udp4"
    )

    assert openvpn(text).spec.endpoints == (Endpoint("2001:db8::6", 443, "tcp"), Endpoint("203.0.113.6", 1, "udp"))


def test_files_that_a_directive_names_are_taken_in() -> None:
    text = OPENVPN.replace(f"<ca>\n{pem('CERTIFICATE')}</ca>", 'ca "my ca.pem"').replace(
        "client\n", "auth-user-pass login\nclient\n"
    )
    files = {
        "dir/my ca.pem": "Certificate:\n    Data:\n" + pem("CERTIFICATE", "WFla"),
        "dir/login": "user\r\nword\nmore\n",
    }

    blocks = dict(openvpn(text, files).spec.blocks)
    assert (blocks["ca"], blocks["auth-user-pass"]) == (pem("CERTIFICATE", "WFla"), "user\nword\n")


def test_a_named_file_cannot_smuggle_directives_into_the_configuration() -> None:
    for name, evil in {
        "ca x": pem("CERTIFICATE") + "</ca>\nup /bin/evil\n<ca>\n",
        "auth-user-pass x": "</auth-user-pass>\nup /bin/evil\n",
        "tls-auth x": pem("OpenVPN Static key V1", "aa\n</tls-auth>\nup /bin/evil"),
    }.items():
        text = OPENVPN.replace(f"<ca>\n{pem('CERTIFICATE')}</ca>\n", "") + name + "\n"
        text += "" if name.startswith("ca") else f"<ca>\n{pem('CERTIFICATE')}</ca>\n"
        made = ""
        with suppress(Invalid):
            made = configuration(openvpn(text, {"dir/x": evil}).spec, "pm0")
        assert "evil" not in made


@pytest.mark.parametrize(
    "line",
    [
        "redirect-gateway def1",
        "route 10.0.0.0 255.0.0.0",
        "dhcp-option DNS 192.0.2.53",
        "verb 9",
        "--persist-tun",
        "cipher AES-256-CBC",
        "pull-filter accept route",
        "setenv opt up /bin/evil",
    ],
)
def test_what_others_decide_is_left_out_with_a_note(line: str) -> None:
    read = openvpn(line + "\n" + OPENVPN)

    assert [(note.label, note.place.line) for note in read.notes] == [("ovpn-ignored", 1)]
    assert read.spec == openvpn().spec


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_run_a_program_or_weaken_the_tunnel_is_refused_with_a_hint(name: str) -> None:
    assert problems("openvpn", f"  --{name} something\n{OPENVPN}") == ["1:ovpn-unsupported"]
    assert problems("openvpn", f"{OPENVPN}<{name}>\nx\n</{name}>\n")[-1].endswith(":ovpn-unsupported")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("client\n", "client\nup /bin/evil\n", "2:ovpn-unsupported"),
        ("client\n", 'client\n"up" /bin/evil\n', "2:ovpn-unsupported"),
        ("client\n", "client\n'plugin' evil.so\n", "2:ovpn-unsupported"),
        ("client\n", "client\nu\\p /bin/evil\n", "2:ovpn-unsupported"),
        ("client\n", "client\nmanagement 127.0.0.1 7505\n", "2:ovpn-unsupported"),
        ("client\n", "client\ncomp-lzo\n", "2:ovpn-value"),
        ("client\n", "client\ncompress lz4\n", "2:ovpn-unsupported"),
        ("client\n", "client\nallow-compression yes\n", "2:ovpn-value"),
        ("client\n", "client\ntls-version-min 1.0\n", "2:ovpn-value"),
        ("client\n", "client\nauth-user-pass\n", "2:ovpn-value"),
        ("client\n", "client\nca a b\n", "2:ovpn-file"),
        ("client\n", "client\ndata-ciphers AES-256-GCM\nncp-ciphers AES-128-GCM\n", "3:ovpn-duplicate"),
        ("client\n", 'client\nverify-x509-name "x\n', "2:ovpn-syntax"),
        ("client\n", "client\nverb 3\x1b[31m\n", "2:ovpn-syntax"),
        ("client\n", "client\n<client>\n</client>\n", "2:ovpn-syntax"),
        ("client\n", "client\nflux-capacitor 88\n", "2:ovpn-unsupported"),
        ("client\n", "", "0:ovpn-missing"),
        ("dev tun", "dev tap", "2:ovpn-value"),
        ("203.0.113.6", "gateway.example", "3:ovpn-remote"),
        ("203.0.113.6 1194 udp", "203.0.113.6 0 udp", "3:ovpn-remote"),
        ("203.0.113.6 1194 udp", "203.0.113.6 1194 sctp", "3:ovpn-remote"),
        ("remote 203.0.113.6 1194 udp\n", "", "0:ovpn-missing"),
        ("BEGIN PRIVATE KEY", "BEGIN ENCRYPTED PRIVATE KEY", "15:ovpn-block"),
        ("</key>", "", "15:ovpn-syntax"),
    ],
)
def test_what_is_not_followed_is_refused_where_it_stands(old: str, new: str, expected: str) -> None:
    assert expected in problems("openvpn", OPENVPN.replace(old, new, 1))


def test_a_file_without_a_way_to_know_the_gateway_or_to_be_known_is_refused() -> None:
    assert problems("openvpn", "client\ndev tun\nremote 203.0.113.6 1194 udp\n") == ["0:ovpn-missing"] * 2


def test_the_daemons_configuration_is_made_by_us_alone() -> None:
    made = configuration(openvpn().spec, "pm0123456789").splitlines()

    for line in (
        *("dev pm0123456789", "script-security 0", "route-nopull", "route-noexec", "ifconfig-noexec"),
        *("allow-compression no", "remote 203.0.113.6 1194 udp4", "tls-version-min 1.2", 'pull-filter ignore ""'),
        *("data-ciphers AES-256-GCM:CHACHA20-POLY1305", "management management unix"),
    ):
        assert made.count(line) == 1, line
    assert [line for line in made if line.startswith("pull-filter")][-1] == 'pull-filter ignore ""'


def test_words_are_split_as_openvpn_splits_them() -> None:
    assert split_words('a  \'b c\' "d\\"e" f\\ g "" #x') == ["a", "b c", 'd"e', "f g", ""]
    assert split_words("a#b ;c") == ["a#b"]
    assert split_words("a 'b") is None


@pytest.mark.parametrize(
    "text",
    [
        OPENVPN,
        OPENVPN.replace("<key>\n", ""),
        OPENVPN.replace("-----BEGIN PRIVATE KEY-----\n", ""),
        OPENVPN.replace("</key>", ""),
        OPENVPN.replace("<key>\n-----BEGIN PRIVATE KEY-----\n", ""),
    ],
)
def test_a_secret_is_never_repeated(text: str) -> None:
    long = text.replace("U0VDUkVU", "U0VDUkVU" * 8)

    assert "U0VDUkVU" not in said("openvpn", long)


def test_a_pinned_fingerprint_needs_no_authority() -> None:
    text = OPENVPN.replace(f"<ca>\n{pem('CERTIFICATE')}</ca>", f"peer-fingerprint {FINGERPRINT}")

    assert openvpn(text).spec.has_block("peer-fingerprint")
    assert problems("openvpn", text.replace("AB:", "XY:", 1)) == ["0:ovpn-missing", "5:ovpn-block"]


def test_junk_is_refused_and_never_crashes() -> None:
    for junk in (
        "",
        "\0",
        "<",
        "<>",
        "</ca>",
        '"',
        "\\",
        "<ca>",
        "\ud800",
        "remote " * 900,
        "a" * 99999,
        "# only\n;comments",
    ):
        assert problems("openvpn", junk)
