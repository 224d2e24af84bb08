"""What was expected and what was observed, as words, and whether they agree.

An outcome is a sequence of terms, one per answer: `ROUTE(wg-a)`, a status such as `403`, `DENY` (any refusal),
`CLOSED`, `REFUSED`, `RESET` (of one stream), `SILENCE`. What reached the origin without an answer follows as
`REACHED(wg-a)`. Terms with `|` are alternatives. Details in brackets after a space, such as ` (0.4 s)`,
are for the reader.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.lab import world
from pointsman.lab.attacks.wire import SWITCHING, Answer

TUNNELS = ("direct", *(gateway.tunnel for gateway in world.GATEWAYS))
ENDINGS = {"closed": "CLOSED", "reset": "CLOSED", "refused": "REFUSED", "open": "SILENCE"}
_REFUSALS = ("CLOSED", "REFUSED", "RESET", "DROP")


def agrees(expected: Sequence[str], observed: str) -> bool:
    """Return whether what was observed is one of the expected outcomes."""
    seen = [term.split(" (")[0] for term in _terms(observed)]
    return any(_fits(one.split(", "), seen) for one in expected)


def _terms(observed: str) -> list[str]:
    """Return the terms with their details; a comma in brackets parts nothing."""
    depth, found = 0, list[str]()
    for part in observed.split(", "):
        if depth > 0:
            found[-1] += f", {part}"
        else:
            found.append(part)
        depth += part.count("(") - part.count(")")
    return found


def terms(expected: Sequence[str]) -> int:
    """Return how many answers the longest of these outcomes speaks of."""
    return max(sum(not term.startswith("REACHED") for term in one.split(", ")) for one in expected)


def observed(answers: Sequence[Answer], ending: str, wanted: int, reached: Sequence[Mapping[str, Any]]) -> str:
    """Return what happened, in the words of the catalogue. `reached` is what the origin has on record."""
    left = [tunnel_of(str(entry["source"])) for entry in reached]
    words = []
    for answer in answers:
        via = _via(answer)
        if via in left:
            left.remove(via)
            words.append(f"ROUTE({via})")
        else:
            words.append(_refusal(answer))
    if len(words) < wanted:
        words.append(ENDINGS[ending])
    return ", ".join([*words, *(f"REACHED({via})" for via in left)])


def tunnel_of(source: str) -> str:
    """Return the tunnel by which the origin saw this source address."""
    return next((name for name in TUNNELS if source in world.seen_as(name)), f"unknown {source}")


def _via(answer: Answer) -> str:
    """Return the tunnel of an answer that the origin gave itself, empty for one that the proxy gave."""
    body = answer.body.decode("latin-1")
    start = body.find('{"protocol"')
    try:
        found, _ = json.JSONDecoder().raw_decode(body[start:]) if start >= 0 else ({}, 0)
    except ValueError:
        return ""
    return tunnel_of(str(found["source"])) if "source" in found and (answer.status < 400) else ""


def _refusal(answer: Answer) -> str:
    if answer.status == 0:
        return "RESET"
    if answer.status == SWITCHING:
        return "101"
    return f"grpc-{answer.grpc}" if answer.grpc else str(answer.status)


def _fits(expected: Sequence[str], seen: Sequence[str]) -> bool:
    return len(expected) == len(seen) and all(
        any(_is(term, word) for term in terms.split("|")) for terms, word in zip(expected, seen, strict=True)
    )


def _is(term: str, word: str) -> bool:
    if term == "DENY":
        refused = word.startswith("grpc-") and word != "grpc-0"
        return refused or word in _REFUSALS or (word.isdigit() and int(word) >= 400)
    return term == word
