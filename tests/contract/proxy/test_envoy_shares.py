"""What a real Envoy does with a profile whose connections several lanes share: each connection has one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pointsman.lab.clients import connected
from pointsman.lab.names import Lab
from pointsman.model.profile import Choose, OnFailure
from pointsman.model.tunnel import Lane

from .conftest import FAST, LANES, SAFE, Proxy

ADDRESS, HOST = "198.51.100.80", "public.example"
OTHER = Lane("fast", "x", 0x00600000, "eth0", SAFE)
CONNECTIONS = 60


@pytest.fixture(scope="module")
def standing(proxy: Proxy) -> Iterator[Proxy]:
    shares = {"fast": ((LANES[0], 3), (OTHER, 1))}
    profiles = [replace(one, on_failure=OnFailure.NEXT, choose=Choose.WEIGHTED) for one in proxy.policy.profiles]
    policy = replace(proxy.policy, profiles=tuple(profiles))
    proxy.publish(proxy.files(policy, lanes=(*LANES, OTHER), shares=shares))
    yield proxy
    proxy.publish(proxy.files(proxy.policy))


def test_connections_are_shared_by_weight_and_all_requests_of_one_leave_by_one_lane(lab: Lab, standing: Proxy) -> None:
    found: Counter[str] = Counter()
    for _ in range(CONNECTIONS):
        with connected(lab, ADDRESS, 80) as client:
            answers = [client.ask("/", host=HOST).json() for _ in range(3)]
        sources = {answer["source"] for answer in answers}
        assert not any(name.startswith("x-pointsman-") for answer in answers for name, _ in answer["headers"])
        assert len(sources) == 1
        found.update(sources)

    assert set(found) == {FAST[0], SAFE[0]}
    # by weight 45 and 15; that it is fewer than 2 or more than 32 happens less than once in 100,000 runs
    assert 1 < found[SAFE[0]] < 33


def test_the_record_names_the_lane_that_was_used(lab: Lab, standing: Proxy) -> None:
    with connected(lab, ADDRESS, 80) as client:
        source = client.ask("/recorded", host=HOST).json()["source"]

    record = standing.record(path="/recorded")
    assert record["lane"] == (LANES[0] if source == FAST[0] else OTHER).cluster
