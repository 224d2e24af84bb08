"""What a real Envoy does with requests: where they go, what the origin sees of them, what the caller is told."""

import json

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.clients import Answer, connected, token
from pointsman.lab.names import Lab

from .conftest import FAST, SAFE, Proxy

ADDRESS, ADDRESS6 = "198.51.100.80", "2001:db8:2::80"
OTHER = "198.51.100.81"
HOST = "public.example"


def once(
    lab: Lab, path: str = "/", *, host: str = HOST, address: str = ADDRESS, kind: str = "http1", **more: object
) -> Answer:
    port, uid = more.pop("port", 50051 if kind == "grpc" else 80), more.pop("uid", 1000)
    with connected(lab, address, port, kind, uid) as client:  # type: ignore[arg-type]
        return client.ask(path, host=host, **more)  # type: ignore[arg-type]


def bearer(lab: Lab, **claims: object) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token(lab, **claims)}"),)  # type: ignore[arg-type]


def test_each_request_of_one_connection_takes_its_own_way(lab: Lab, proxy: Proxy) -> None:
    with connected(lab, ADDRESS, 80) as client:
        seen = [
            client.ask("/", host=HOST, headers=headers).json()["source"]
            for headers in ((), bearer(lab, role="admin"), (("x-tenant", "gold"),), ())
        ]
    assert seen == [FAST[0], SAFE[0], SAFE[0], FAST[0]]


def test_ipv6_takes_the_same_ways(lab: Lab, proxy: Proxy) -> None:
    assert once(lab, address=ADDRESS6).json()["source"] == FAST[1]
    assert once(lab, address=ADDRESS6, headers=(("x-tenant", "gold"),)).json()["source"] == SAFE[1]


def test_the_user_behind_the_socket_decides(lab: Lab, proxy: Proxy) -> None:
    assert once(lab, uid=2001).json()["source"] == SAFE[0]
    assert once(lab, uid=2002).json()["source"] == FAST[0]


def test_a_list_claim_is_matched_by_member(lab: Lab, proxy: Proxy) -> None:
    assert once(lab, headers=bearer(lab, groups=["dev", "ops"])).json()["source"] == SAFE[0]
    assert once(lab, headers=bearer(lab, groups=["dev"])).json()["source"] == FAST[0]
    assert once(lab, headers=bearer(lab, groups=["devops"])).json()["source"] == FAST[0]


def test_a_claim_of_the_wrong_shape_is_none(lab: Lab, proxy: Proxy) -> None:
    wrong = ({"groups": '["ops"]'}, {"groups": ["ops", 1]}, {"groups": {"ops": "ops"}}, {"role": ["admin"]})
    assert [once(lab, headers=bearer(lab, **claims)).json()["source"] for claims in wrong] == [FAST[0]] * len(wrong)


def test_a_forged_context_header_changes_nothing_and_does_not_leave(lab: Lab, proxy: Proxy) -> None:
    forged = (
        ("x-pointsman-claim-role", "admin"),
        ("x-pointsman-claim-groups", "W"),
        ("x-pointsman-json-groups", '["ops"]'),
        ("x-pointsman-class", "202"),
        ("x-pointsman-path", "/deny"),
        ("x-envoy-original-dst-host", "169.254.169.254:80"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
    )
    seen = once(lab, headers=forged).json()
    assert seen["source"] == FAST[0]
    assert [name for name, _ in seen["headers"] if name.startswith("x-")] == []


def test_the_origin_sees_the_callers_headers_and_no_others(lab: Lab, proxy: Proxy) -> None:
    sent = (("accept", "*/*"), ("x-request-id", "mine"), ("x-forwarded-for", "10.0.0.1"), ("te", "trailers"))
    head = once(lab, port=8081, headers=(*sent, *bearer(lab, role="admin", groups=["a"]))).json()["body"]
    names = sorted(line.split(":")[0].lower() for line in head.split("\r\n")[1:] if line)
    assert names == sorted(["host", "authorization", *(name for name, _ in sent)])


def test_tokens_that_do_not_hold_give_no_claims(lab: Lab, proxy: Proxy) -> None:
    wrong = [
        bearer(lab, role="admin", iss="https://other.example"),
        bearer(lab, role="admin", aud="other"),
        bearer(lab, role="admin", lifetime=-60),
        (("authorization", "Bearer ghp_foreign"),),
        (*bearer(lab, role="admin"), *bearer(lab, role="admin")),
    ]
    assert [once(lab, headers=headers).json()["source"] for headers in wrong] == [FAST[0]] * len(wrong)


def test_a_denial_names_rule_and_decision(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, "/deny/this?token=s3cr3t")
    assert (answer.status, answer.header("content-type")) == (403, "application/problem+json")
    told = answer.json()
    assert told == {
        "type": "urn:pointsman:denied",
        "title": "The policy denies this request",
        "status": 403,
        "detail": "rule `no-secrets` denies it",
        "rule": "no-secrets",
        "decision": told["decision"],
    }
    record = proxy.record(decision=told["decision"])
    assert {key: record[key] for key in ("rule", "code", "path", "authority", "lane")} == {
        "rule": "no-secrets",
        "code": 403,
        "path": "/deny/this",
        "authority": HOST,
        "lane": None,
    }


def test_a_profile_without_a_tunnel_is_unavailable(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, "/gone")
    assert (answer.status, answer.json()["rule"], answer.json()["detail"]) == (
        503,
        "to-gone",
        "profile `gone`: no tunnel gives `quantum`",
    )


def test_a_lane_whose_device_is_missing_sends_nothing(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, "/broken")
    assert (answer.status, answer.json()["rule"], answer.json()["detail"]) == (
        503,
        "to-broken",
        "the way out did not answer",
    )


def test_what_is_ambiguous_is_malformed(lab: Lab, proxy: Proxy) -> None:
    hosts = ["a,b", "a@b", "a..", "public.example:80a", "public.example:", "a%2eb", "public.example:99999"]
    assert [once(lab, host=host).status for host in hosts] == [400] * len(hosts)
    assert once(lab, headers=(("x-tenant", "silver"), ("x-tenant", "gold"))).status == 400
    assert once(lab, headers=(("x_tenant", "gold"),)).status == 400


def test_hosts_are_compared_in_their_canonical_form(lab: Lab, proxy: Proxy) -> None:
    hosts = ["PUBLIC.example", "public.example.", "public.example:80", "a.b.public.example", "A.public.example.:80"]
    assert [once(lab, host=host).status for host in hosts] == [200] * len(hosts)


def test_a_host_holds_only_at_its_addresses(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, address=OTHER)
    assert (answer.status, answer.json()["detail"]) == (421, "the connection does not go to an address of `public`")
    assert once(lab, host="trusted.example", address=OTHER).status == 200


def test_a_host_with_other_ports_is_not_that_destination(lab: Lab, proxy: Proxy) -> None:
    assert once(lab, host="trusted.example", port=8080).json()["host"] == "trusted.example"
    proxy.record(authority="trusted.example", rule="default")


def test_paths_are_decided_in_their_normal_form(lab: Lab, proxy: Proxy) -> None:
    paths = ["//deny", "/./deny", "/x/../deny", "/%64eny", "/x/%2e%2e/deny"]
    assert [once(lab, path).status for path in paths] == [403] * len(paths)
    assert once(lab, "/%2fdeny").status == 400


def test_http2_keeps_its_form_to_the_origin(lab: Lab, proxy: Proxy) -> None:
    with connected(lab, ADDRESS, 80, "http2") as client:
        plain = client.ask("/", host=HOST).json()
        gold = client.ask("/", host=HOST, headers=(("x-tenant", "gold"),)).json()
    assert (plain["protocol"], plain["source"], gold["source"]) == ("http/2", FAST[0], SAFE[0])


def test_grpc_streams_both_ways_and_brings_its_trailers(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, "/demo.Echo/Chat", kind="grpc", messages=3)
    assert (answer.status, dict(answer.trailers).get("x-origin-trailer")) == (0, "done")
    assert [one["message"] for one in answer.json()] == [1, 2, 3]
    assert answer.json()[0]["source"] == SAFE[0]


def test_a_denied_call_gets_a_grpc_status(lab: Lab, proxy: Proxy) -> None:
    assert once(lab, "/deny/Call", kind="grpc").status == 7
    assert once(lab, "/gone/Call", kind="grpc").status == 14
    assert once(lab, "/broken/Call", kind="grpc").status == 14


def test_a_grpc_type_alone_makes_no_call(lab: Lab, proxy: Proxy) -> None:
    for kind in ("application/grpc", "application/grpcfoo"):
        answer = once(lab, method="POST", headers=(("content-type", kind),), body="x")
        assert answer.json()["source"] == FAST[0]


def test_a_websocket_is_decided_once_and_then_carried(lab: Lab, proxy: Proxy) -> None:
    answer = once(lab, "/ws", kind="websocket", body="hello")
    assert (answer.status, answer.json()["source"]) == (101, FAST[0])
    assert once(lab, "/deny/ws", kind="websocket", body="hello").status == 403


def test_the_record_shows_the_way_that_was_taken(lab: Lab, proxy: Proxy) -> None:
    once(lab, "/recorded?token=s3cr3t", headers=bearer(lab, sub="alice", role="admin"))
    record = proxy.record(path="/recorded")
    assert {key: record[key] for key in ("rule", "user", "lane", "destination", "code", "flags")} == {
        "rule": "for-admins",
        "user": "alice",
        "lane": "safe@b",
        "destination": f"{ADDRESS}:80",
        "code": 200,
        "flags": "-",
    }
    assert str(record["source"]).startswith(f"{SAFE[0]}:")
    assert "s3cr3t" not in json.dumps(proxy.records())


def test_a_connection_to_an_entry_port_itself_is_closed(lab: Lab, proxy: Proxy) -> None:
    for entry in {entry.mode: entry for entry in proxy.ports}.values():
        done = on.run(lab, world.INSTANCE, ["curl", "-s", "-m3", f"http://127.0.0.1:{entry.port}/"])
        assert done.returncode in (52, 56), done


def test_expect_continue_is_left_to_the_origin(lab: Lab, proxy: Proxy) -> None:
    def continued(path: str) -> bool:
        argv = [
            "curl",
            "-sv",
            "-m5",
            "-H",
            "Expect: 100-continue",
            "-H",
            f"Host: {HOST}",
            "-d",
            "x",
            f"http://{ADDRESS}{path}",
        ]
        return "< HTTP/1.1 100" in on.run(lab, world.INSTANCE, argv).stderr

    assert continued("/")
    assert not continued("/deny")
