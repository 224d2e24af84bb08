"""Large bodies pass through and do not pile up, and stay in their tunnels.

The largest go in the clear, where nothing is to be kept from the witness: so many bytes are more than it can look into.
It looks at a smaller one, in a tunnel, that has the canary from its start to its end.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.lab import clients, watch, world
from pointsman.lab.names import Lab
from tests.lab.steered import POLICY, SHARED, Steered, steering

SIZE = 1024 * 1024 * 1024
WATCHED = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Steered]:
    with steering(lab, POLICY) as made:
        yield made


_UPLOAD = """
import encodings.idna, http.client, json, os, sys
address, size = sys.argv[1], int(sys.argv[2])
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
line = http.client.HTTPConnection(address, 80, timeout=120)
chunk = b"x" * 65536
headers = {"Host": "public.example", "Content-Length": str(size)}
line.request("POST", "/upload", (chunk for _ in range(size // len(chunk))), headers)
sent = json.loads(line.getresponse().read())["length"]
line.request("GET", f"/big?bytes={size}", headers={"Host": "public.example"})
answer, got = line.getresponse(), 0
while data := answer.read(1 << 20): got += len(data)
print(json.dumps([sent, got]))
"""


def test_a_large_body_is_not_buffered_in_either_direction(host: Steered) -> None:
    proxy = Path(f"/proc/{host.status()['proxy']['pid']}")
    (proxy / "clear_refs").write_text("5")  # forget the peak
    before = _peak(proxy)

    done = host.run(sys.executable, "-c", _UPLOAD, SHARED[0], str(SIZE))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [SIZE, SIZE]
    assert _peak(proxy) - before < 32 * 1024  # KiB


def test_a_body_in_a_tunnel_is_nowhere_in_the_clear(host: Steered) -> None:
    with watch.witness(host.lab) as witness, clients.connected(host.lab, SHARED[0], 80) as client:
        said = witness.canary.decode()
        body = said * (WATCHED // len(said))
        headers = [host.token(role="admin")]
        inside = client.ask("/upload", host="records.example", method="POST", headers=headers, body=body)
        leaked = witness.leaked()
        outside = client.ask("/upload", host="public.example", method="POST", body=body)
        clear = witness.leaked()

    assert [answer.json()["source"] for answer in (inside, outside)] == [
        world.seen_as(way)[0] for way in ("wg-a", "direct")
    ]
    assert [answer.json()["length"] for answer in (inside, outside)] == [len(body)] * 2
    assert leaked == 0
    assert clear > WATCHED // 65536  # each frame has some of it


def _peak(proxy: Path) -> int:
    lines = (proxy / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
