"""Which addresses no gateway may give a tunnel."""

from dataclasses import replace
from pathlib import Path

import yaml

from pointsman.model.policy import Destination
from pointsman.model.tunnel import Endpoint
from pointsman.node.config import load_node
from pointsman.node.spoken import by_node, by_policy
from pointsman.tunnels.port import DirectSpec, OpenvpnSpec
from tests.unit.node.test_config import GATEWAY, GOOD
from tests.unit.node.test_holdings import POLICY


def test_whom_a_node_asks_calls_and_probes_is_spoken_for(tmp_path: Path) -> None:
    probed = {"name": "a", "kind": "wireguard", "level": "strong", "file": "a.conf", "probe": "10.71.0.1"}
    told = {
        "resolvers": ["10.0.0.53", "FD00::0:53"],
        "gateways": [{**GATEWAY, "level": "strong", "address": "10.0.0.7"}],
    }
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({**GOOD, **told, "tunnels": [*GOOD["tunnels"], probed]}))
    specs = (DirectSpec("eth0"), OpenvpnSpec((Endpoint("10.0.0.8", 1194, "udp"),), (), (), 1400))

    found = by_node(load_node(tmp_path / "node.yaml"), specs)

    assert found == {"10.0.0.53", "fd00::53", "10.0.0.7", "10.0.0.8", "10.71.0.1"}


def test_destinations_are_spoken_for_where_they_are_single_hosts() -> None:
    shop = Destination("shop", addresses=("10.1.2.3/32", "fd01::3/128", "10.0.0.0/8"))

    assert by_policy(replace(POLICY, destinations=(shop,))) == {"10.1.2.3", "fd01::3"}
