"""Tunnels that come when they are needed and are left when they die: how long that takes, and what is lost."""

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench import dedicated, figures, many, swallowed
from bench.figures import Figures

# What a part does, and how often by itself
PARTS: Mapping[str, tuple[Callable[[int], Figures], int]] = MappingProxyType(
    {
        "cold": (dedicated.cold, 40),
        "warm": (dedicated.warm, 40),
        "later": (dedicated.later, 20),
        "rotation": (dedicated.rotation, 10),
        "failover": (swallowed.failover, 10),
        "many": (many.many, 200),
        "select": (many.selection, 10_000),
    }
)


def main() -> None:
    """Run the parts one after the other, each in a lab of its own."""
    options = argparse.ArgumentParser(prog="./dev bench tunnels", description=__doc__)
    options.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    options.add_argument("--count", type=int, help="samples, rounds or tunnels of each part")
    given = options.parse_args()
    found: dict[str, object] = {}
    begun = figures.machine()
    for name in given.part or PARTS:
        part, usual = PARTS[name]
        print(f"{name}: {part.__doc__}", flush=True)
        found |= part(given.count or usual)
    figures.tell({**found, "machine": {"before": begun, "after": figures.machine()}}, given.json)


if __name__ == "__main__":
    main()
