"""What daemons and the kernel answer, understood without them."""

from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2.netlink.generic.wireguard import AsyncWireGuard, wgmsg

from pointsman.model.fault import Fault
from pointsman.tunnels.drivers import kernel, management, uapi
from pointsman.tunnels.drivers import openvpn as openvpn_driver
from pointsman.tunnels.drivers.files import read_text
from pointsman.tunnels.port import berth, digest, link_name
from tests.unit.tunnels.samples import PRIVATE, PUBLIC, SHARED, WIREGUARD, openvpn, wireguard

SPEC = wireguard(WIREGUARD + f"PresharedKey = {SHARED}\n").spec


def test_a_device_that_was_asked_for_a_spec_is_found_to_be_as_the_spec_says() -> None:
    answer = (
        uapi.request(SPEC).replace("set=1", "get=1")
        + "last_handshake_time_sec=12\nlast_handshake_time_nsec=5\nrx_bytes=7\ntx_bytes=9\n"
    )
    seen = uapi.understand(answer)

    assert uapi.settings(SPEC) <= seen.settings
    assert (seen.oldest_handshake, seen.sent) == (12 + 5e-9, 9)
    assert not uapi.settings(wireguard().spec) <= seen.settings


def test_the_kernels_answer_says_the_same_as_the_userspace_one() -> None:
    asked = wgmsg()
    peer = SPEC.peers[0]
    networks = AsyncWireGuard._wg_build_allowedips(None, list(peer.allowed))
    said = [
        ["WGPEER_A_PUBLIC_KEY", peer.public_key],
        ["WGPEER_A_PRESHARED_KEY", peer.preshared_key],
        ["WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", 10],
        ["WGPEER_A_LAST_HANDSHAKE_TIME", {"tv_sec": 12, "tv_nsec": 0}],
        ["WGPEER_A_RX_BYTES", 7],
        ["WGPEER_A_TX_BYTES", 9],
        ["WGPEER_A_ALLOWEDIPS", networks],
    ]
    asked["attrs"] = [["WGDEVICE_A_PRIVATE_KEY", PRIVATE], ["WGDEVICE_A_PEERS", [{"attrs": said}]]]
    asked.encode()
    answer = wgmsg(asked.data)
    answer.decode()

    assert kernel.understand([answer]) == uapi.Seen(
        uapi.settings(SPEC), (uapi.SeenPeer(uapi.hexadecimal(peer.public_key), 12.0, 7, 9),)
    )


class Unconnected:
    """A WireGuard device of which only what comes before the kernel is there: the look at each key."""

    def __enter__(self) -> "Unconnected":
        return self

    def __exit__(self, *_: object) -> None: ...

    def set(self, _: str, peer: dict[str, str] | None = None, private_key: str = PRIVATE, **__: object) -> None:
        AsyncWireGuard._wg_test_key(None, private_key if peer is None else peer["public_key"])


@pytest.mark.parametrize("key", ["", "AAAA", "A"])
def test_a_key_that_no_device_takes_is_the_fault_of_its_tunnel_alone(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyroute2.WireGuard", Unconnected)
    place = berth(Path("/nowhere"), "gw-1", 64002, 64002)
    kernel.tell(SPEC, place)

    with pytest.raises(Fault, match=f"configure link `{place.link}` of tunnel `gw-1`"):
        kernel.tell(replace(SPEC, peers=(replace(SPEC.peers[0], public_key=key),)), place)


@pytest.mark.parametrize(
    ("pushed", "expected", "why"),
    [
        (("10.0.0.2", "fd00::2"), ("10.0.0.2", "fd00::2"), ""),
        (("10.0.0.2",), ("10.0.0.2", "fd00::2"), ""),
        (("10.0.0.2", "fd00::9"), ("10.0.0.2", "fd00::2"), "the gateway pushed fd00::9, which is not what it gave"),
        (("10.0.0.2",), ("10.0.0.2",), ""),
        (("10.0.0.9", "fd00::9"), (), ""),
        (("10.0.0.9", "10.0.0.53"), (), "the gateway pushed 10.0.0.53, which this host knows elsewhere"),
        (("10.0.0.53",), ("10.0.0.53",), "the gateway pushed 10.0.0.53, which this host knows elsewhere"),
    ],
)
def test_a_daemon_is_not_believed_every_address(pushed: tuple[str, ...], expected: tuple[str, ...], why: str) -> None:
    assert openvpn_driver.refused(pushed, expected, frozenset({"10.0.0.53"})) == why


@pytest.mark.parametrize(
    ("line", "connected", "addresses"),
    [
        ("1,CONNECTED,SUCCESS,10.8.0.2,203.0.113.5,1194,,,fd00::2", True, ("10.8.0.2", "fd00::2")),
        ("1,CONNECTED,SUCCESS,10.8.0.2,203.0.113.5,1194,,", True, ("10.8.0.2",)),
        ("1,CONNECTED,SUCCESS,127.0.0.1,203.0.113.5,1194,,,::1", True, ()),
        ("1,CONNECTED,ERROR,10.8.0.2,203.0.113.5,1194,,", False, ("10.8.0.2",)),
        ("1,RECONNECTING,ping-restart,,,,,", False, ()),
        ("1,WAIT,,,,,,", False, ()),
    ],
)
def test_a_daemons_state_is_understood(line: str, connected: bool, addresses: tuple[str, ...]) -> None:
    answer = f">INFO:hello\r\n{line}\r\nEND\r\nSUCCESS: nclients=0,bytesin=5,bytesout=6\r\n"
    said = management.understand(answer)

    assert (said.connected, said.addresses, said.sent) == (connected, addresses, 6)
    assert bool(said.why) != connected


def test_a_spec_shows_no_secret_and_its_hash_follows_every_part(tmp_path) -> None:  # type: ignore[no-untyped-def]
    shown = repr(SPEC) + repr(openvpn().spec) + repr(uapi.Seen(uapi.settings(SPEC), ()))

    secrets = (PRIVATE, SHARED, uapi.hexadecimal(PRIVATE), uapi.hexadecimal(SHARED), "U0VDUkVU")
    assert [word for word in secrets if word in shown] == []
    assert PUBLIC in shown
    assert len({digest(spec) for spec in (SPEC, wireguard().spec, openvpn().spec)}) == 3
    # what is only compared with what the gateway pushes is nothing that its daemon was started with
    assert digest(replace(openvpn().spec, addresses=("10.0.0.9",))) == digest(openvpn().spec)
    assert link_name("/run/a", "t") != link_name("/run/b", "t") != link_name("/run/b", "u")
    assert len(berth(tmp_path, "t" * 60, 64002, 64002).link) <= 15


def test_only_short_plain_text_files_are_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name, raw, why in (("a", b"\xff", "not UTF-8"), ("b", b"x" * 1_000_001, "longer"), ("c", b"a\0", "NUL")):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(Fault, match=why):
            read_text(str(tmp_path / name))
    with pytest.raises(Fault, match="not a file"):
        read_text("/dev/zero")
    with pytest.raises(Fault, match="No such file"):
        read_text(str(tmp_path / "missing"))
