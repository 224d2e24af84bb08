import pytest

from pointsman.model.tunnel import Endpoint
from pointsman.tunnels.port import Peer, WireguardSpec
from tests.unit.tunnels.samples import PRIVATE, PUBLIC, SHARED, WIREGUARD, problems, said, wireguard


def test_a_plain_file_is_read_as_it_is_written() -> None:
    peer = Peer(PUBLIC, Endpoint("203.0.113.5", 51820, "udp"), ("0.0.0.0/0", "::/0"), 10)

    assert wireguard().spec == WireguardSpec(PRIVATE, ("10.71.0.2", "fd71::2"), (peer,), 1420)
    assert wireguard().notes == ()


def test_every_spelling_that_wg_quick_reads_is_read() -> None:
    odd = (
        "\ufeff# ours\r\n[INTERFACE]\r\nprivatekey="
        + PRIVATE
        + "\r\nADDRESS=10.71.0.2\r\nAddress = fd71::2/64 # two\r\n"
        f"MTU=1380\r\nListenPort = 51820\r\n[peer]\r\nPublicKey={PUBLIC}\r\nPresharedKey={SHARED}\r\n"
        "AllowedIPs=10.0.0.1/8\r\nAllowedIPs=::/0\r\nEndpoint=[2001:DB8::5]:1\r\nPersistentKeepalive=25\r\n"
    )
    peer = Peer(PUBLIC, Endpoint("2001:db8::5", 1, "udp"), ("10.0.0.0/8", "::/0"), 25, SHARED)

    assert wireguard(odd).spec == WireguardSpec(PRIVATE, ("10.71.0.2", "fd71::2"), (peer,), 1380, 51820)


@pytest.mark.parametrize("line", ["DNS = 192.0.2.53", "Table = off", "FwMark = 51820", "SaveConfig = false"])
def test_what_others_decide_is_left_out_with_a_note(line: str) -> None:
    read = wireguard(WIREGUARD.replace("[Interface]\n", f"[Interface]\n{line}\n"))

    assert [(note.label, note.place.line) for note in read.notes] == [("wg-ignored", 2)]
    assert read.spec == wireguard().spec


def test_keepalives_are_on_also_where_the_file_turns_them_off() -> None:
    for value in ("off", "0"):
        assert wireguard(WIREGUARD + f"PersistentKeepalive = {value}\n").spec.peers[0].keepalive == 10


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[Interface]\n", "[Interface]\nPostUp = iptables -F\n", "2:wg-hook"),
        ("[Interface]\n", "[Interface]\npreup = touch /tmp/owned\n", "2:wg-hook"),
        ("[Interface]\n", "[Interface]\nPOSTDOWN=x\n", "2:wg-hook"),
        ("[Interface]\n", "[Interface]\nSaveConfig = true\n", "2:wg-unsupported"),
        ("[Interface]\n", "[Interface]\nJc = 4\n", "2:wg-unsupported"),
        ("[Interface]\n", "[Interface]\nEndpoint = 203.0.113.5:1\n", "2:wg-section"),
        ("[Interface]\n", "PrivateKey = x\n[Interface]\n", "1:wg-syntax"),
        ("[Interface]\n", "[Interface]\nnonsense\n", "2:wg-syntax"),
        ("[Peer]", "[Peers]", "0:wg-section"),
        (f"PrivateKey = {PRIVATE}", "PrivateKey = short", "2:wg-key"),
        (f"PrivateKey = {PRIVATE}", f"PrivateKey = {PRIVATE[:-2]}B=", "2:wg-key"),
        (f"PrivateKey = {PRIVATE}", "PrivateKey = " + "A" * 43 + "=", "2:wg-key"),
        (f"PrivateKey = {PRIVATE}", f"PrivateKey = {PRIVATE}\nPrivateKey = {PRIVATE}", "3:wg-duplicate"),
        (f"PublicKey = {PUBLIC}\n", "", "5:wg-missing"),
        ("Address = 10.71.0.2/24, fd71::2/64\n", "", "1:wg-missing"),
        ("10.71.0.2/24", "10.71.0.999", "3:wg-address"),
        ("10.71.0.2/24", "127.0.0.1", "3:wg-address"),
        ("fd71::2/64", "fe80::1%eth0", "3:wg-address"),
        ("0.0.0.0/0, ::/0", "everything", "7:wg-network"),
        ("AllowedIPs = 0.0.0.0/0, ::/0\n", "", "5:wg-missing"),
        ("203.0.113.5:51820", "gateway.example:51820", "8:wg-endpoint-name"),
        ("203.0.113.5:51820", "203.0.113.5", "8:wg-endpoint"),
        ("203.0.113.5:51820", "203.0.113.5:65536", "8:wg-endpoint"),
        ("203.0.113.5:51820", "0.0.0.0:51820", "8:wg-endpoint"),
        ("203.0.113.5:51820", "[fe80::1%eth0]:51820", "8:wg-endpoint"),
        ("Endpoint = 203.0.113.5:51820\n", "", "5:wg-missing"),
        ("[Peer]", "MTU = 1279\n[Peer]", "5:wg-number"),
        ("[Peer]", "MTU = 14e2\n[Peer]", "5:wg-number"),
        ("[Peer]", "ListenPort = ٥١٨٢٠\n[Peer]", "5:wg-number"),
    ],
)
def test_what_is_not_followed_is_refused_where_it_stands(old: str, new: str, expected: str) -> None:
    assert expected in problems("wireguard", WIREGUARD.replace(old, new, 1))


def test_all_problems_are_told_at_once() -> None:
    bad = WIREGUARD.replace("10.71.0.2/24", "x").replace("203.0.113.5", "gw").replace("[Peer]", "PostUp = y\n[Peer]")

    assert problems("wireguard", bad) == ["3:wg-address", "5:wg-hook", "9:wg-endpoint-name"]


def test_a_network_in_two_peers_is_ambiguous_and_refused() -> None:
    second = f"[Peer]\nPublicKey = {SHARED}\nAllowedIPs = ::/0\nEndpoint = 203.0.113.7:1\n"

    assert problems("wireguard", WIREGUARD + second) == ["0:wg-duplicate"]
    assert problems("wireguard", WIREGUARD + second.replace(SHARED, PUBLIC).replace("::/0", "fd00::/8")) == [
        "0:wg-duplicate"
    ]


@pytest.mark.parametrize(
    "text",
    [
        WIREGUARD,
        WIREGUARD.replace("PrivateKey = ", ""),
        WIREGUARD.replace("PrivateKey = ", "PrivateKey = x"),
        WIREGUARD.replace("PrivateKey = ", "PrivateKey "),
        WIREGUARD.replace("[Interface]", "[Interfaces]"),
        WIREGUARD.replace("[Interface]\n", ""),
        WIREGUARD.replace(f"PrivateKey = {PRIVATE}", f"{PRIVATE} = PrivateKey"),
        WIREGUARD + f"PresharedKey = {PRIVATE}",
        WIREGUARD + f"PresharedKey = {PRIVATE}{PRIVATE}",
    ],
)
def test_a_secret_is_never_repeated(text: str) -> None:
    assert PRIVATE[:20] not in said("wireguard", text)


def test_junk_is_refused_and_never_crashes() -> None:
    for junk in ("", "\0", "[", "[]", "=", "[Interface]" * 2, "[Peer]\n=\n", "\ud800", "[Interface]\nAddress = ,,\n"):
        assert problems("wireguard", junk)
