from bench import askers, faults
from bench.askers import BROKEN_OFF, NOTHING, Asked
from bench.soak import Blow, judged
from pointsman.lab import world


def asked(status: int, begun: float = 0.0, method: str = "GET", path: str = "/shared/x", source: str = "") -> Asked:
    return Asked(method, path, status, source, begun, begun + 1.0)


def test_what_had_begun_to_be_answered_is_not_lost() -> None:
    found = [asked(200), asked(BROKEN_OFF), asked(NOTHING), asked(503), asked(503, method="POST")]

    assert askers.lost(found) == 2
    assert askers.lost(found, "POST") == 1


def test_the_first_answer_through_a_tunnel_counts_from_when_the_path_died() -> None:
    found = [asked(200, 4.0, source="b"), asked(200, 10.5, source="a"), asked(200, 11.0, source="b")]

    assert askers.first_through(found, "b", 10.0) == 2.0
    assert askers.first_through(found, "c", 10.0) is None


def test_only_what_may_not_be_repeated_counts_as_repeated() -> None:
    reached = [
        {"method": "POST", "path": "/1"},
        {"method": "POST", "path": "/1"},
        *[{"method": "GET", "path": "/2"}] * 3,
    ]

    assert askers.repeated(reached) == 1


def test_a_soak_tells_refused_broken_and_lost_apart() -> None:
    found = [
        asked(200),
        asked(503),
        asked(NOTHING),
        asked(503, method="POST"),
        asked(503, path="/own/x"),
        asked(NOTHING, begun=20.0),
    ]
    blows = [Blow("the network of gw-a", 0.0, 5.0, True), Blow("the proxy", 20.5, 22.0, False)]

    assert judged(found, blows) == {"sent": 6, "answered": 1, "refused": 3, "broken": 2, "lost_idempotent": 2}


def test_a_fault_of_the_only_tunnel_of_a_profile_excuses_no_other() -> None:
    found = [asked(503, path="/single/x"), asked(NOTHING, path="/single/x"), asked(503)]

    assert judged(found, [Blow("the daemon of gw-c", 0.0, 5.0, True)])["lost_idempotent"] == 1


def test_a_soak_hits_every_gateway_at_the_daemon_of_its_tunnel() -> None:
    assert {one.host: faults.DAEMONS[one.kind] for one in world.GATEWAYS} == {
        "gw-a": "wireguard-go",
        "gw-b": "wireguard-go",
        "gw-c": "openvpn",
    }
