"""How an input is tried: one function for each kind of probe. Each returns what was observed, in words."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jwt

from pointsman.lab.attacks import beside, far, floods, holders, lifecycle, outcome, strain, streams, tunnels, ways, wire
from pointsman.lab.attacks.bench import Bench
from pointsman.lab.attacks.case import Trial
from pointsman.lab.clients import token

Headers = list[tuple[str, str]]
FAULTS = {run.__name__: run for part in (ways, beside, lifecycle, holders, tunnels, far, strain) for run in part.FAULTS}


def attempt(bench: Bench, trial: Trial) -> str:
    """Try one input and return what was observed."""
    return _PROBES[trial.probe](bench, trial)


def _http1(bench: Bench, trial: Trial) -> str:
    template = trial.options.get("send", "{}")
    templates = template if isinstance(template, list) else [template]
    segments = [_fill(bench, one, trial.input).encode("latin-1") for one in templates]
    return _converse(bench, trial, "http1", segments, _sent1(b"".join(segments)))


def _http2(bench: Bench, trial: Trial) -> str:
    wanted = list(_streams(bench, trial))
    sent = [(name.decode("latin-1"), value.decode("latin-1")) for one in wanted for name, value in streams.fields(one)]
    return _converse(bench, trial, "http2", [streams.connection(wanted)], sent)


def _streams(bench: Bench, trial: Trial) -> Iterator[Mapping[str, Any]]:
    """Yield the streams: those of the input over what all of them have in common."""
    common = trial.options.get("send", {})
    given = trial.input
    if isinstance(given, str):
        yield {name: _fill(bench, value, given) if isinstance(value, str) else value for name, value in common.items()}
        return
    for one in given if isinstance(given, list) and given and isinstance(given[0], dict) else [given]:
        own = one if isinstance(one, dict) else {"headers": [*common.get("headers", ()), *one]}
        yield {**common, **own}


def _converse(bench: Bench, trial: Trial, protocol: str, segments: Sequence[bytes], sent: Headers) -> str:
    wanted = outcome.terms(trial.expect)
    within = float(trial.options.get("within", 8))
    to, port = str(trial.options["to"]), int(trial.options.get("port", 80))
    bench.reached()
    talked = bench.talk(int(trial.options["uid"]), to, port, protocol, segments, wanted, within)
    answers = wire.answers(protocol, talked.received, talked.ended != "open")
    if len(answers) < wanted or any(answer.status == 0 for answer in answers):
        bench.settle()
    reached = bench.reached()
    ended = "closed" if protocol == "http2" and wire.goes_away(talked.received) else talked.ended
    said = outcome.observed(answers, ended, wanted, reached)
    return ", ".join([said, *_at_origin(trial, reached, sent)])


def _at_origin(trial: Trial, reached: Sequence[Mapping[str, Any]], sent: Headers) -> Iterator[str]:
    """Yield what differs between what the origin should have seen and what it saw."""
    for entry in reached:
        for name, right in () if trial.control else trial.options.get("seen", {}).items():
            if str(entry[name]) != str(right):
                yield f"{name} is `{entry[name]}`"
        headers = _sent1(str(entry["body"]).encode("latin-1")) if entry["protocol"] == "raw" else entry["headers"]
        for name, value in headers:
            if any(name.lower().startswith(one) for one in trial.options.get("lacks", ())):
                yield f"the origin saw `{name}`"
            known = {(one.lower(), text.strip()) for one, text in sent}
            allowed = trial.options.get("adds")
            if allowed is not None and name.lower() not in allowed and (name.lower(), value) not in known:
                yield f"`{name}: {value}` was added"


def _sender(bench: Bench, trial: Trial) -> str:
    before = bench.witness.leaked()
    bench.reached()
    said = bench.send(str(trial.input), int(trial.options["uid"]))
    bench.settle()
    leaked = bench.witness.leaked() - before
    words = [f"LEAK of {leaked}"] if leaked else []
    words += [f"REACHED({outcome.tunnel_of(str(entry['source']))})" for entry in bench.reached()]
    return ", ".join(words) or f"DROP ({said})"


def _flood(bench: Bench, trial: Trial) -> str:
    """Send a flood and see how it ends, that the proxy lives, and that another connection is served."""
    proxy = bench.pids("envoy")
    to, uid = str(trial.options["to"]), int(trial.options["uid"])
    talked = bench.talk(uid, to, 80, "http2", [floods.flood(str(trial.input))], 1_000_000, within=5)
    ended = "CLOSED" if talked.ended != "open" or wire.goes_away(talked.received) else "OPEN"
    alive = [] if bench.pids("envoy") == proxy else ["the proxy ended"]
    return ", ".join([ended, *alive, f"ROUTE({bench.ask()})"])


def _fault(bench: Bench, trial: Trial) -> str:
    before = bench.witness.leaked()
    said = FAULTS[str(trial.input)](bench)
    bench.settle()
    leaked = bench.witness.leaked() - before
    return f"{said}, LEAK of {leaked}" if leaked else said


def _answer(bench: Bench, trial: Trial) -> str:
    """Have a false gateway answer: the input changes what a true one would say, or says how it answers at all."""
    common = {"ask": trial.options["ask"], "json": trial.options["json"]}
    changed = {name: value for name, value in trial.input.items() if name != "change"}
    if "change" in trial.input:
        changed["json"] = {**common["json"], **trial.input["change"]}
    return far.answered(bench, {**common, **changed})


_PROBES: dict[str, Callable[[Bench, Trial], str]] = {
    "http1": _http1,
    "http2": _http2,
    "sender": _sender,
    "flood": _flood,
    "fault": _fault,
    "answer": _answer,
}


def _fill(bench: Bench, template: str, given: Any) -> str:
    """Put the input in its place.

    `<token role=ops>` becomes a token with these claims (`lifetime=-60`: one that has ended), `<unsigned role=ops>` one
    without a signature, `<60000*a>` as many times the text.
    """
    text = template.replace("{}", str(given))
    text = re.sub(r"<token ([^>]*)>", lambda found: _token(bench, found[1]), text)
    text = re.sub(r"<unsigned ([^>]*)>", lambda found: _unsigned(bench, found[1]), text)
    return re.sub(r"<(\d+)\*([^>]+)>", lambda m: m[2] * int(m[1]), text)


def _sent1(data: bytes) -> Headers:
    head = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
    return [(name, value.strip()) for name, found, value in (line.partition(":") for line in head) if found]


def _token(bench: Bench, words: str) -> str:
    claims = dict(word.split("=") for word in words.split())
    return token(bench.lab, lifetime=int(claims.pop("lifetime", "3600")), **claims)


def _unsigned(bench: Bench, words: str) -> str:
    claims = jwt.decode(_token(bench, words), options={"verify_signature": False})
    return jwt.encode(claims, "", algorithm="none")
