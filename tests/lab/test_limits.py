"""Limits of a profile: requests per second, bandwidth both ways, and the code point on the wire."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pointsman.lab import clients, world
from pointsman.lab import exec as on
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.lab.watch import Witness
from tests.lab.steered import PATIENCE, SHARED, Steered, policy_text, seen_in_clear, steering

GRPC_EXHAUSTED = 8
# Few come back within the time of a test: what a bucket has is what it starts with.
PROFILES = [
    {
        "name": "few",
        "encryption": "strong",
        "select": {"names": ["wg-a"]},
        "limits": {"requests": {"rate": 1, "burst": 5}},
    },
    {
        "name": "each",
        "encryption": "strong",
        "select": {"names": ["wg-b"]},
        "limits": {"perUser": {"rate": 1, "burst": 4}},
    },
    {
        "name": "there",
        "encryption": "strong",
        "select": {"names": ["wg-b"]},
        "limits": {"perDestination": {"rate": 1, "burst": 3}},
    },
    {
        "name": "narrow",
        "encryption": "none",
        "select": {"names": ["direct"]},
        "qos": "bulk",
        "limits": {"bandwidth": "10Mbit"},
    },
    {"name": "quick", "encryption": "none", "select": {"names": ["direct"]}, "qos": "interactive"},
    {"name": "inner", "encryption": "strong", "select": {"names": ["wg-a"]}, "qos": "interactive"},
]
RULES = [
    {"name": "few", "when": 'request.path.startsWith("/few")', "profile": "few"},
    {"name": "few-too", "when": 'request.path.startsWith("/other")', "profile": "few"},
    {"name": "each", "when": 'request.path.startsWith("/each")', "profile": "each"},
    {"name": "there", "when": 'request.path.startsWith("/there")', "profile": "there"},
    {
        "name": "narrow",
        "when": 'request.path.startsWith("/big") || request.path.startsWith("/up")',
        "profile": "narrow",
    },
    {"name": "quick", "when": 'request.path.startsWith("/quick")', "profile": "quick"},
    {"name": "inner", "when": 'request.path.startsWith("/inner")', "profile": "inner"},
]


@pytest.fixture(scope="module")
def host(lab: Lab, witness: Witness) -> Iterator[Steered]:
    with steering(lab, policy_text(profiles=PROFILES, rules=RULES)) as made:
        assert seen_in_clear(made, witness, "grpc", path="/quick.Store/Get") == 1
        yield made


@pytest.fixture
def full(host: Steered) -> None:
    """Buckets that are full: the fullest takes five seconds to fill."""
    since = time.monotonic()
    until(lambda: time.monotonic() - since > 5.2, "the buckets are full", within=PATIENCE)


def asked(
    host: Steered, witness: Witness, count: int, path: str, name: str = "public.example", **claims: object
) -> list[int]:
    """Ask so often by a profile with a tunnel and return the statuses."""
    headers = [witness.secret, *([host.token(**claims)] if claims else [])]
    with clients.connected(host.lab, SHARED[0], 80) as client:
        return [client.ask(path, host=name, headers=headers).status for _ in range(count)]


def came_back(since: float) -> int:
    """Return how many requests a bucket of one a second has got back at the most."""
    return int(time.monotonic() - since) + 1


def granted(statuses: list[int]) -> int:
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


def test_a_profile_s_limit_counts_all_its_requests_whatever_rule_they_took(
    host: Steered, witness: Witness, full: None
) -> None:
    with clients.connected(host.lab, SHARED[0], 80) as client:
        answers = [
            client.ask(path, host=name, headers=[witness.secret])
            for name in ("public.example", "records.example")
            for path in ("/few", "/other")
            for _ in range(3)
        ]

    statuses = [answer.status for answer in answers]
    refused = next(answer for answer in answers if answer.status == 429)
    assert 5 <= granted(statuses) <= 7
    assert refused.header("retry-after") == "1"
    assert refused.header("content-type") == "application/problem+json"
    assert (refused.json()["type"], refused.json()["status"]) == ("urn:pointsman:limited", 429)


def test_a_grpc_call_over_the_limit_has_status_8(host: Steered, witness: Witness, full: None) -> None:
    headers, said = [witness.secret], witness.canary.decode()
    with clients.connected(host.lab, SHARED[0], 50051, "grpc") as client:
        answers = [client.ask("/few.Store/Get", host="public.example", headers=headers, body=said) for _ in range(9)]
    statuses = [answer.status for answer in answers]

    assert set(statuses) == {0, GRPC_EXHAUSTED}
    assert 5 <= statuses.count(0) <= 7


def test_a_user_s_limit_counts_for_each_user_alone(host: Steered, witness: Witness, full: None) -> None:
    since = time.monotonic()
    first = [granted(asked(host, witness, 8, "/each", sub=user)) for user in ("ada", "bob", "eve")]
    again = granted(asked(host, witness, 8, "/each", sub="ada"))

    assert min(first) >= 4  # each has a bucket of its own
    assert first[0] + again <= 4 + came_back(since)  # and nobody has two


def test_all_without_a_user_count_as_one(host: Steered, witness: Witness, full: None) -> None:
    since = time.monotonic()
    first = granted(asked(host, witness, 6, "/each"))
    forged = [("x-identity-token", f"no.token.{number}") for number in range(6)]
    with clients.connected(host.lab, SHARED[0], 80) as client:
        statuses = [client.ask("/each", host="public.example", headers=[one, witness.secret]).status for one in forged]

    assert first >= 4
    assert first + granted(statuses) <= 4 + came_back(since)


def test_a_destination_s_limit_counts_for_each_destination_alone(host: Steered, witness: Witness, full: None) -> None:
    names = ("public.example", "records.example", "pay.example")

    assert min(granted(asked(host, witness, 6, "/there", name)) for name in names) >= 3


def test_a_change_of_policy_does_not_refill(host: Steered, witness: Witness, full: None) -> None:
    since = time.monotonic()
    before = granted(asked(host, witness, 8, "/few"))
    rules = [*RULES, {"name": "one-more", "when": 'request.path == "/more"', "profile": "quick"}]
    (host.lab.node / "more.yaml").write_text(policy_text(profiles=PROFILES, rules=rules))
    host.tell("policy", "apply", str(host.lab.node / "more.yaml"))
    with clients.connected(host.lab, SHARED[0], 80) as client:
        assert client.ask("/more", host="public.example").status == 200  # it is in force

    after = granted(asked(host, witness, 8, "/few"))

    assert before >= 5
    assert before + after <= 5 + came_back(since)


# Two transfers on one connection: the first takes what the bucket holds, the second is timed.
_TIMED = """
import encodings.idna, http.client, json, os, sys, time
address, method, path, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
line = http.client.HTTPConnection(address, 80, timeout=60)
for _ in range(2):
    begun = time.monotonic()
    body = (b"x" * 65536 for _ in range(size // 65536)) if method == "POST" else None
    line.request(method, path, body, {"Host": "public.example", **({"Content-Length": str(size)} if body else {})})
    answer = line.getresponse(); answer.read()
print(json.dumps([answer.status, time.monotonic() - begun]))
"""


@pytest.mark.parametrize(("method", "path"), [("GET", "/big?bytes={size}"), ("POST", "/up")])
def test_bandwidth_is_limited_in_both_directions(host: Steered, method: str, path: str) -> None:
    size = 48 * 65536  # 2.5 s at 10 Mbit/s

    done = host.run(sys.executable, "-c", _TIMED, SHARED[0], method, path.format(size=size), str(size))

    assert done.returncode == 0, done.stderr
    status, seconds = json.loads(done.stdout)
    megabits = size * 8 / seconds / 1e6
    assert status == 200
    assert 4 < megabits < 11.5, f"{megabits:.1f} Mbit/s"
    assert host.status()["guard"]["over_rate"]["packets"] > 0


# Reads the code points of IP packets that pass a device in one direction: address, port and DSCP of each TCP packet.
_CODE_POINTS = """
import json, select, socket, sys, time
device, wanted = sys.argv[1], sys.argv[2]
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
line.bind((device, 0))
print("ready", flush=True)
found, ends = set(), time.monotonic() + 20
while time.monotonic() < ends and not select.select([sys.stdin], [], [], 0)[0]:
    if not select.select([line], [], [], 0.05)[0]: continue
    frame = line.recv(65536)
    start = 14 if device != "wg0" else 0
    version = frame[start] >> 4
    if version == 4:
        dscp, target = frame[start + 1] >> 2, socket.inet_ntoa(frame[start + 16:start + 20])
    elif version == 6:
        dscp = (int.from_bytes(frame[start:start + 2], "big") >> 6) & 63
        target = socket.inet_ntop(socket.AF_INET6, frame[start + 24:start + 40])
    else: continue
    if target == wanted: found.add(dscp)
print(json.dumps(sorted(found)))
"""


def code_points(
    host: Steered, on_host: str, device: str, address: str, path: str, *headers: tuple[str, str], seen: str = ""
) -> list[int]:
    """Ask for a path at an address, and return the code points of all packets that pass there to it, or to `seen`."""
    argv = on.command(host.lab, on_host, [sys.executable, "-I", "-c", _CODE_POINTS, device, seen or address])
    watching = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline() == "ready\n"
    with clients.connected(host.lab, address, 80) as client:
        assert client.ask(path, host="public.example", headers=headers).status == 200
    told, _ = watching.communicate("done\n", timeout=30)
    return list(json.loads(told))


@pytest.mark.parametrize("address", ["198.51.100.80", "2001:db8:2::80"])
@pytest.mark.parametrize(("path", "dscp"), [("/quick", 18), ("/big?bytes=1", 1)])
def test_the_code_point_of_a_direct_lane_is_on_the_wire(host: Steered, address: str, path: str, dscp: int) -> None:
    assert code_points(host, world.ROUTER, "lan", address, path) == [dscp]


@pytest.mark.parametrize("address", ["198.51.100.80", "2001:db8:2::80"])
def test_the_code_point_of_a_tunnel_s_lane_is_inside_it(host: Steered, witness: Witness, address: str) -> None:
    assert code_points(host, "gw-a", "wg0", address, "/inner", witness.secret) == [18]
