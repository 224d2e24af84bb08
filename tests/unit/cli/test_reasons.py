"""What an explanation says of tunnels: the agent's own decision where there is an agent, the node file's where not."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread
from typing import Any

import pytest

from pointsman.cli.asked import Asked
from pointsman.cli.reasons import reasons
from pointsman.node import applied

POLICY = """
apiVersion: pointsman/v1
kind: Policy
metadata: {name: test}
destinations: [{name: all, hosts: ["a.example"], addresses: [198.51.100.80]}]
profiles:
  - {name: cheap, encryption: none, choose: cheapest, onFailure: next}
  - {name: heavy, encryption: none, choose: weighted, onFailure: next}
rules:
  - {name: write, when: 'request.method == "PUT"', profile: heavy}
  - {name: read, when: 'request.method == "GET"', profile: cheap}
"""
NODE = """
apiVersion: pointsman/v1
kind: Node
policy: policy.yaml
uplinks: [eth0]
runtime: run
state: state
capture: {http: [80], auto: [8085]}
tunnels:
  - {name: a, kind: direct, level: none, device: eth0, cost: 1, weight: 1}
  - {name: b, kind: direct, level: none, device: eth0, cost: 2, weight: 1000000}
  - {name: c, kind: direct, level: none, device: eth0, cost: 0, weight: 1}
  - {name: d, kind: direct, level: none, device: eth0, cost: 3, weight: 1}
"""


UP = dict.fromkeys("abcd", "up")


def written(folder: Path) -> Path:
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "node.yaml").write_text(NODE)
    (folder / "run").mkdir()
    (folder / "state").mkdir()
    return folder / "node.yaml"


def told(folder: Path, method: str, policy: str = "", node: Path | None = None) -> tuple[str, list[str]]:
    file = folder / policy if policy else None
    answer = reasons(Asked(method, "http://a.example/"), None, "", file, node, folder / "run", 0.0)
    return answer["tunnel"], answer["objections"]


@contextmanager
def agent(
    folder: Path, states: Mapping[str, str], ways: Mapping[str, tuple[str, list[str]]], state: str = "open"
) -> Iterator[None]:
    """Answer as an agent that has tunnels in these states, and has decided on these ways."""
    constant = {"kind": "direct", "level": "none", "labels": {}, "device": "eth0", "sources": [], "table": 0, "mtu": 0}
    tunnels = [
        constant | {"name": name, "state": state, "why": "", "holder": "", "probe": None}
        for name, state in states.items()
    ]
    profiles = [{"name": name, "tunnel": tunnel, "why": why} for name, (tunnel, why) in ways.items()]
    status: dict[str, Any] = {"state": state, "names": [], "tunnels": tunnels, "profiles": profiles}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(status).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (folder / "run" / "node-file").write_text(str(written(folder)))
    source, _ = applied.gather(POLICY.encode(), str(folder / "policy.yaml"), folder, "")
    applied.keep(folder / "state" / "policy.json", source)
    with UnixStreamServer(str(folder / "run" / "control.sock"), Answers) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def test_the_tunnels_of_a_node_file_are_chosen_by_their_cost_and_weight(tmp_path: Path) -> None:
    node = written(tmp_path)

    assert told(tmp_path, "GET", "policy.yaml", node)[0] == "c"
    assert told(tmp_path, "PUT", "policy.yaml", node)[0] == "b"


def test_the_tunnel_that_the_agent_decided_on_is_named_with_what_speaks_against_the_others(tmp_path: Path) -> None:
    with agent(tmp_path, UP | {"c": "failed"}, {"cheap": ("b", []), "heavy": ("", ["b: is failed"])}):
        assert told(tmp_path, "GET") == ("b", ["a: `b` comes first", "c: is failed", "d: `b` comes first"])
        assert told(tmp_path, "PUT") == ("", ["b: is failed"])


def test_a_policy_that_is_not_in_force_chooses_among_the_tunnels_of_the_pool_as_they_are(tmp_path: Path) -> None:
    with agent(tmp_path, UP | {"c": "failed", "gw-a-1f2e3d4c": "up"}, {}):
        assert told(tmp_path, "GET", "policy.yaml") == (
            "a",
            ["b: `a` comes first", "c: is failed", "d: `a` comes first"],
        )
        assert told(tmp_path, "PUT", "policy.yaml")[0] == "b"


def test_where_the_agent_holds_nothing_back_that_is_said_first(tmp_path: Path) -> None:
    with agent(tmp_path, UP, {"cheap": ("b", []), "heavy": ("b", [])}, "observe"):
        answer = reasons(Asked("GET", "http://a.example/"), None, "", None, None, tmp_path / "run", 0.0)

    assert answer["assumed"][0] == "the agent only observes: requests leave as if nobody had decided"


def test_with_a_node_file_all_of_its_tunnels_count_as_up_whatever_an_agent_says(tmp_path: Path) -> None:
    with agent(tmp_path, dict.fromkeys("abcd", "failed"), {"cheap": ("", ["all"])}):
        assert told(tmp_path, "GET", "", tmp_path / "node.yaml")[0] == "c"


def test_nobody_has_a_tunnel_of_their_own_without_a_name_and_a_plain_flow_has_no_token(tmp_path: Path) -> None:
    examples = Path(__file__).parents[3] / "examples" / "policy.yaml"
    ask = Asked("GET", "http://records.example/patients/7")

    def explained(asked: Asked, **claims: str) -> dict[str, Any]:
        return reasons(asked, claims, "", examples, None, tmp_path, 0.0)

    ada, nobody = explained(ask, role="admin", sub="ada"), explained(ask, role="admin")
    flow = explained(Asked("GET", "tcp://records.example:5432"), role="admin", sub="ada")

    assert (ada["dedicated"], nobody["dedicated"], nobody["tunnel"]) == ("per-user", "", "")
    assert nobody["objections"] == ["refused: nobody is known whose tunnel it could be, no user is proven"]
    assert (flow["decision"], flow["assumed"][-1]) == (
        "deny (reset)",
        "a plain TCP flow carries no token: claims say nothing to it",
    )


@pytest.mark.parametrize(
    ("url", "decision", "assumed"),
    [
        ("http://198.51.100.80:8085/", "profile cheap", []),
        ("http://198.51.100.80:8090/", "deny (reset)", ["port 8090 is not in the node file's `capture`"]),
        ("tcp://198.51.100.80:8090", "deny (reset)", []),
        ("tcp://198.51.100.80:8085", "deny (reset)", []),
        ("tcp://198.51.100.80:80", "malformed (400)", []),
    ],
)
def test_the_port_says_what_is_read_of_a_request(tmp_path: Path, url: str, decision: str, assumed: list[str]) -> None:
    node = written(tmp_path)
    asked = Asked("GET", url, (("host", "a.example"),))
    told = reasons(asked, None, "", tmp_path / "policy.yaml", node, tmp_path / "run", 0.0)

    assert told["decision"].partition(":")[0] == decision
    assert [line.partition(":")[0] for line in told["assumed"]] == assumed


def test_without_a_node_file_and_an_agent_nobody_knows_the_tunnel(tmp_path: Path) -> None:
    written(tmp_path)
    asked = Asked("GET", "http://a.example:8090/")
    told = reasons(asked, None, "", tmp_path / "policy.yaml", None, tmp_path / "run", 0.0)

    assert (told["profile"], told["tunnel"]) == ("cheap", None)
    assert "no agent runs" in told["objections"][0]
    assert "port 8090 is captured as HTTP; the node file tells, name it with --node" in told["assumed"]
