"""What was proven, as metrics."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pointsman.node.balance import Balance, Judgement
from pointsman.node.proof import Reason
from pointsman.node.records import Tally


def metrics(tally: Tally, standing: Mapping[str, int], balances: Iterable[Balance]) -> Iterator[Metric]:
    """Yield counters since the agent started, and how sockets and tunnels were found last."""
    misrouted = CounterMetricFamily(
        "pointsman_misrouted", "Requests, sockets and traffic that went another way than decided.", labels=("reason",)
    )
    for reason in Reason:
        misrouted.add_metric((reason,), tally.misrouted[reason])
    yield misrouted
    requests = CounterMetricFamily(
        "pointsman_proof_requests",
        "Requests that left, by how the way they took is known.",
        labels=("lane", "evidence"),
    )
    for evidence, counts in (("kernel", tally.proven), ("source", tally.by_source), ("none", tally.unknown)):
        for lane, count in sorted(counts.items()):
            requests.add_metric((lane, evidence), count)
    yield requests
    sockets = GaugeMetricFamily("pointsman_proof_sockets", "Sockets that carry all of their lane.", labels=("lane",))
    for lane, count in sorted(standing.items()):
        sockets.add_metric((lane,), count)
    yield sockets
    tunnels = GaugeMetricFamily(
        "pointsman_proof_tunnel", "1 for what the counters of a tunnel said last.", labels=("tunnel", "judgement")
    )
    for one in balances:
        for judgement in Judgement:
            tunnels.add_metric((one.tunnel, judgement), one.judgement is judgement)
    yield tunnels
    ended = CounterMetricFamily("pointsman_proof_ended", "Requests and flows that a change of policy has ended.")
    ended.add_metric((), tally.ended)
    yield ended
