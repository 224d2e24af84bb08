"""Medians, ratios and the form in which a benchmark says what it found."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence

Figures = Mapping[str, object]


def ratio(rounds: Iterable[tuple[float, float]]) -> float:
    """Return the median over the rounds of the first figure divided by the second of the same round."""
    return round(statistics.median(first / second for first, second in rounds), 3)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def spread(values: Sequence[float]) -> str:
    """Return the least and the greatest value: how far to trust the one in the middle."""
    return f"{min(values):.4g} - {max(values):.4g}"


def machine() -> Figures:
    """Return what the figures were measured on, and how busy it was."""
    with open("/proc/loadavg") as file:
        load = [float(word) for word in file.read().split()[:3]]
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": load,
    }


def tell(figures: Figures, as_json: bool) -> None:
    """Print the figures: as the last line for programs, else one by one."""
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    for name, value in figures.items():
        if not isinstance(value, (dict, list)):
            print(f"{name}: {value}")
