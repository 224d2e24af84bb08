"""What `leases list` tells people and programs. Times are in seconds."""

from collections.abc import Callable, Mapping
from typing import Any

from pointsman.model.gateway import Made
from pointsman.model.tunnel import State
from pointsman.node.holdings import Holdings


def listed(
    holdings: Holdings, made: Mapping[str, Made], state: Callable[[str], State], silent: Mapping[str, str], now: float
) -> dict[str, Any]:
    """Return who holds which tunnel, which wait or leave, and which gateways do not answer."""
    held = [(lease, made[lease.tunnel]) for lease in holdings.leases]
    return {
        "leases": [
            {
                "profile": lease.profile,
                "holder": lease.key,
                "tunnel": lease.tunnel,
                "gateway": one.gateway,
                "state": state(lease.tunnel),
                "key_age": round(now - one.since, 1),
                "idle": round(now - one.used, 1),
            }
            for lease, one in held
        ],
        "spares": [{"tunnel": name, "gateway": made[name].gateway} for name in holdings.spares],
        "leaving": sorted(one.name for one in made.values() if one.leaving is not None),
        "silent": dict(sorted(silent.items())),
    }
