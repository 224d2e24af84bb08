"""Daemons see no more of the host than they need, and nobody sees what is secret."""

import stat
from pathlib import Path

import pytest

from tests.contract.drivers.two_hosts import Bring

KINDS = pytest.mark.parametrize("kind", ["wireguard", "openvpn"])


@KINDS
def test_secrets_are_nowhere_but_in_the_users_file(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    pid = tunnel.world.pid("near", "t")
    seen = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    home = tunnel.world.folder / "near"
    files = [path for path in home.rglob("*") if path.is_file()]
    seen += b"".join(path.read_bytes() for path in files)

    assert [word for word in tunnel.near.words if word.encode() in seen] == []
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    assert [mode & 0o077 for mode in [(home / "tunnels/t").stat().st_mode]] == [0]


@KINDS
def test_the_daemon_is_a_user_of_its_own_with_the_least_capabilities(bring: Bring, kind: str) -> None:
    tunnel = bring(kind, 0)
    status = Path(f"/proc/{tunnel.world.pid('near', 't')}/status").read_text()
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    held = 1 << 12 if kind == "wireguard" else 0

    assert said["Uid"].split() == ["64002"] * 4
    assert said["Gid"].split() == ["64002"] * 4
    assert said["Groups"].split() == []
    assert said["NoNewPrivs"] == "1"
    assert [int(said[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [held] * 4


def test_an_openvpn_daemon_has_a_tun_device_of_its_own(bring: Bring) -> None:
    tunnel = bring("openvpn", 0)

    seen = Path(f"/proc/{tunnel.world.pid('near', 't')}/root/dev/net/tun").stat()

    assert (seen.st_uid, stat.S_IMODE(seen.st_mode)) == (64002, 0o600)
    assert seen.st_rdev == Path("/dev/net/tun").stat().st_rdev
