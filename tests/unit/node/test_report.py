"""What the agent tells Prometheus of its tunnels."""

from pointsman.model.profile import Level
from pointsman.model.tunnel import Kind, State, Tunnel
from pointsman.node import report
from pointsman.node.records import Tally
from tests.unit.node.test_plan import trees


def tunnel(name: str, state: State, why: str = "") -> Tunnel:
    return Tunnel(name, Kind.WIREGUARD, Level.STRONG, (), state, f"pm-{name}", ("10.71.0.2",), (), 7100, 1420, why)


def test_a_degraded_tunnel_still_counts_as_up_and_says_why_it_comes_last() -> None:
    tunnels = (tunnel("a", State.DEGRADED, "nobody answers"), tunnel("b", State.UP), tunnel("c", State.FAILED, "gone"))

    told = report.metrics(trees().policy, tunnels, {}, {}, Tally(), {}, ()).decode().splitlines()

    assert [line for line in told if line.startswith(("pointsman_tunnel_up", "pointsman_tunnel_degraded"))] == [
        'pointsman_tunnel_up{kind="wireguard",tunnel="a"} 1.0',
        'pointsman_tunnel_up{kind="wireguard",tunnel="b"} 1.0',
        'pointsman_tunnel_up{kind="wireguard",tunnel="c"} 0.0',
        'pointsman_tunnel_degraded{tunnel="a",why="nobody answers"} 1.0',
    ]
