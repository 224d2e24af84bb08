"""What is compared: each peer answers at an origin address of its own, captured by the same redirect."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench import place, policies
from bench.place import Place
from pointsman.dataplane import accesslog, entries
from pointsman.dataplane.envoy import Object, Settings, extension, typed
from pointsman.dataplane.resources import compile_envoy
from pointsman.model.entry import Mode
from pointsman.model.tunnel import Lane
from pointsman.policy.diagram import compile_policy
from pointsman.policy.load import load_policy
from pointsman.system import envoy

BASE_PORT = 15000
SHAPE = "exact"

_HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout connect 5s
  timeout server 60s
  timeout http-keep-alive 60s
frontend captured
  bind 127.0.0.1:{port}
  acl team hdr(x-team) -m beg team-
  acl item path -m beg /items/
  use_backend out if team item
  default_backend out
backend out
  http-reuse always
  server origin {address}:80
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to the origin. `rules` is 0 where none are asked; `pid` is that of the proxy, 0 for none."""

    name: str
    address: str
    port: int
    rules: int = 0
    pid: int = 0
    base: int = 0


def start_plain(
    made: Place, peer: Peer, asks: Sequence[Object] = (), clusters: Sequence[Object] = (), records: bool = False
) -> int:
    """Start an Envoy that passes on what it gets to where it was going; `asks` are filters before that.

    `records`: it writes the decision records that pointsman writes.
    """
    router = extension("envoy.filters.http.router", typed("envoy.extensions.filters.http.router.v3.Router"))
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="plain",
        route_config={
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "out"}}]}
            ]
        },
        http_filters=[*asks, router],
        access_log=accesslog.http_log(_recording(made, peer), False, {}) if records else [],
    )
    original = typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")
    config = {
        "static_resources": {
            "listeners": [
                {
                    "name": "captured",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": peer.port}},
                    "listener_filters": [extension("envoy.filters.listener.original_dst", original)],
                    "filter_chains": [
                        {"filters": [extension("envoy.filters.network.http_connection_manager", manager)]}
                    ],
                }
            ],
            "clusters": [
                {"name": "out", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "5s"},
                *clusters,
            ],
        }
    }
    path = made.folder / f"{peer.name}.json"
    path.write_text(json.dumps(config))
    argv = [str(envoy.binary()), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return made.start(argv, peer.name).pid


def _recording(made: Place, peer: Peer) -> Settings:
    folder = made.folder / f"{peer.name}-state"
    folder.mkdir()
    os.chown(folder, place.PROXY_UID, place.PROXY_UID)
    return Settings(str(folder), str(folder), str(folder / "decisions.log"))


def start_asking(made: Place, peer: Peer) -> int:
    """Start an Envoy that asks a service in Python about every request."""
    socket = made.folder / "decider"
    socket.mkdir(mode=0o777)
    socket.chmod(0o777)
    argv = [sys.executable, "-m", "bench.authz", str(socket / "s"), str(peer.rules)]
    made.start(argv, "decider", uid=0)
    place.wait((socket / "s").exists, "the decider listens", made, "decider")
    asks = typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": "decider"}, "timeout": "5s"},
    )
    decider: Object = {
        "name": "decider",
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                explicit_http_config={"http2_protocol_options": {}},
            )
        },
        "load_assignment": {
            "cluster_name": "decider",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(socket / "s")}}}}]}],
        },
    }
    return start_plain(made, peer, [extension("envoy.filters.http.ext_authz", asks)], [decider])


def start_haproxy(made: Place, peer: Peer) -> int:
    """Start HAProxy with two ACLs and the origin as its server."""
    path = made.folder / f"{peer.name}.cfg"
    path.write_text(_HAPROXY.format(port=peer.port, address=peer.address))
    return made.start(["haproxy", "-f", str(path)], peer.name).pid


def start_pointsman(made: Place, peer: Peer) -> int:
    """Start the proxy on what the compiler makes of a policy with so many rules."""
    text = policies.policy_text(SHAPE, peer.rules, address=peer.address)
    compiled = compile_policy(load_policy(text, f"{peer.name}.yaml", policies.no_files))
    lane = Lane(policies.PROFILE, "direct", 2 << 20, "eth0", (place.HOST_ADDRESS,))
    home = made.folder / peer.name
    home.mkdir(mode=0o755)
    at = envoy.Place(home / "etc", home / "state", place.PROXY_UID, 1)
    settings = Settings(str(at.folder), str(at.state), str(at.state / "decisions.log"), ipv6=False, heap_bytes=2 << 30)
    ports = entries.plan((), [lane.cluster], [Mode.HTTP], base=peer.base)
    files = compile_envoy(compiled, {lane.profile: lane}, [lane], ports, settings)
    envoy.prepare(at)
    envoy.write(at, files.named())
    with place.inside(made.host):
        process = envoy.start(at)
    made.adopted.append(process)
    envoy.wait_ready(at, process, within=60)
    return process.pid


def capture(made: Place, peers: Sequence[Peer]) -> None:
    """Redirect what goes to the peers' addresses to their ports."""
    lines = [f"    ip daddr {peer.address} tcp dport 80 redirect to :{peer.port}" for peer in peers if peer.port]
    rules = "\n".join(
        [
            "table ip bench {",
            "  chain output {",
            "    type nat hook output priority -100",
            f"    meta skuid {place.PROXY_UID} return",
            *lines,
            "  }",
            "}",
        ]
    )
    made.run(["nft", "-f", "-"], timeout=10, uid=0, given=rules)
