"""What a real Envoy does with requests that a lane does not answer: by the next, but never twice what may not be."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pointsman.lab import exec as on
from pointsman.lab import instance, world
from pointsman.lab.clients import Answer, connected
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.profile import OnFailure
from pointsman.model.tunnel import Lane

from .conftest import FAST, LANES, SAFE, WAYS, Proxy

ADDRESS, HOST = "198.51.100.80", "public.example"
FIRST = Lane("fast", "x", 0x00600000, "eth0", SAFE)
FAST_LANE, BROKEN = LANES[0], LANES[3]
NEXTS = {
    FIRST.cluster: (FAST_LANE,),
    BROKEN.cluster: (replace(FIRST, profile="broken", mark=0x00700000),),
}


@pytest.fixture(scope="module")
def standing(proxy: Proxy) -> Iterator[Proxy]:
    ways = {**WAYS, "fast": FIRST, "broken": BROKEN}
    profiles = tuple(replace(profile, on_failure=OnFailure.NEXT) for profile in proxy.policy.profiles)
    policy = replace(proxy.policy, profiles=profiles)
    proxy.publish(proxy.files(policy, ways, (*LANES, FIRST, *NEXTS[BROKEN.cluster]), NEXTS))
    yield proxy
    proxy.publish(proxy.files(proxy.policy))


def arrived(lab: Lab, path: str) -> list[str]:
    """Return the sources from which requests with this path came to the origin."""
    return [str(one["source"]) for one in instance.reached(lab) if one.get("path") == path]


def cut_while_it_waits(lab: Lab, path: str, method: str, kind: str, body: str = "") -> Answer:
    """Ask something slow, and reset its first lane's connections once the origin has it."""
    found: list[Answer] = []

    def ask() -> None:
        with connected(lab, ADDRESS, 80, kind) as client:  # type: ignore[arg-type]
            found.append(client.ask(path, host=HOST, method=method, body=body))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: arrived(lab, path) == [SAFE[0]], "the origin has the request")
    on.demand(lab, world.INSTANCE, ["ss", "-K", "-n", "-t", "src", SAFE[0]])
    asking.join(20)
    return found[0]


@pytest.mark.parametrize("kind", ["http1", "http2"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_may_repeat_goes_by_the_next_lane_and_its_record_says_so(
    lab: Lab, standing: Proxy, kind: str, method: str
) -> None:
    path = f"/slow?seconds=1&{kind}{method}"

    answer = cut_while_it_waits(lab, path, method, kind, "x" * 1000 if method == "PUT" else "")

    assert (answer.status, answer.json()["source"]) == (200, FAST[0])
    assert arrived(lab, path) == [SAFE[0], FAST[0]]
    record = standing.record(path="/slow", method=method, protocol="HTTP/2" if kind == "http2" else "HTTP/1.1")
    assert record["lane"] == FAST_LANE.cluster
    assert str(record["source"]).startswith(f"{FAST[0]}:")


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_what_may_not_repeat_is_sent_once_and_told_that_it_failed(lab: Lab, standing: Proxy, kind: str) -> None:
    path = f"/slow?seconds=1&{kind}POST"

    answer = cut_while_it_waits(lab, path, "POST", kind, "x" * 1000)

    assert answer.status == 503
    assert json.loads(answer.body)["type"] == "urn:pointsman:unavailable"
    assert arrived(lab, path) == [SAFE[0]]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_could_not_be_sent_at_all_goes_by_the_next_lane(lab: Lab, standing: Proxy, method: str) -> None:
    with connected(lab, ADDRESS, 80) as client:
        answer = client.ask(f"/broken/{method}", host=HOST, method=method)

    assert (answer.status, answer.json()["source"]) == (200, SAFE[0])
    assert arrived(lab, f"/broken/{method}") == [SAFE[0]]


def test_an_answer_that_has_begun_is_never_asked_for_again(lab: Lab, standing: Proxy) -> None:
    script = [
        "curl",
        "-4",
        "-s",
        "-m",
        "20",
        "-o",
        "/dev/null",
        "--limit-rate",
        "100k",
        f"http://{HOST}/big?bytes=30000000",
    ]
    with subprocess.Popen(on.command(lab, world.INSTANCE, script, uid=1000)) as client:
        until(lambda: arrived(lab, "/big?bytes=30000000") == [SAFE[0]], "the answer has begun")
        on.demand(lab, world.INSTANCE, ["ss", "-K", "-n", "-t", "src", SAFE[0]])
        assert client.wait(20) != 0
    assert arrived(lab, "/big?bytes=30000000") == [SAFE[0]]
