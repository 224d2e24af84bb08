"""Cases as they stand in `cases/*.yaml`, and the single trials that each one stands for.

A file has a `section`, a `title`, `defaults` for its cases, and `cases`. A case has an `id`, says `what` it is about,
has `inputs` (a list, or by label), an `expect` (one outcome or several alternatives), and what its `probe` needs. An
input is put in the place of `{}` in `send`. `{input: …, expect: …, note: …}` is an input with an outcome of its own;
`{bytes: "00-1f,7f"}` stands for one input per byte, written as two hex digits.
A section may say what it adds to the attacked policy (`policy`: rules come first) and to the node file (`node`).
A case in which nothing is allowed needs a `control`: the input with which the same probe must get through; a mapping
with `input` can change the probe's options as well.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "cases"
POLICY = Path(__file__).parent / "policy.yaml"
WITHOUT_CONTROL = ("sender", "fault", "flood", "answer")  # these bring their own


@dataclass(frozen=True, slots=True)
class Trial:
    """One input and the outcomes that are right for it. `options` is what else the probe needs."""

    id: str
    what: str
    probe: str
    label: str
    input: Any
    expect: tuple[str, ...]
    options: Mapping[str, Any]
    note: str = ""
    control: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """All trials of one entry of the catalogue: the control first."""

    id: str
    what: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One file of cases. `policy` and `node` are what it adds to policy and node file of its lab."""

    name: str
    number: str
    title: str
    cases: tuple[Case, ...]
    policy: Mapping[str, Any] = field(default_factory=dict)
    node: Mapping[str, Any] = field(default_factory=dict)

    def policy_text(self) -> str:
        """Return the attacked policy with what this section adds."""
        document = yaml.safe_load(POLICY.read_text())
        for part, added in self.policy.items():
            known = document[part]
            document[part] = known | added if isinstance(known, dict) else [*added, *known]
        return str(yaml.safe_dump(document, sort_keys=False))

    def node_text(self, plain: str) -> str:
        """Return a node file with what this section adds."""
        return str(yaml.safe_dump({**yaml.safe_load(plain), **self.node}, sort_keys=False))


def sections() -> tuple[Section, ...]:
    """Return all sections, in the order of the catalogue."""
    return tuple(load(path) for path in sorted(FOLDER.glob("*.yaml")))


def load(path: Path) -> Section:
    """Read one file of cases. A mistake in it is a `ValueError` that names the case."""
    document = yaml.safe_load(path.read_text())
    cases = tuple(_case({**document.get("defaults", {}), **case}) for case in document["cases"])
    added = (document.get(part, {}) for part in ("policy", "node"))
    return Section(path.stem, str(document["section"]), document["title"], cases, *added)


def _case(entry: Mapping[str, Any]) -> Case:
    found = [_trial(entry, label, given) for label, given in _inputs(entry.get("inputs", [""]))]
    if "control" in entry:
        other = entry["control"] if isinstance(entry["control"], dict) else {"input": entry["control"]}
        right = entry.get("control_expect", "ROUTE(wg-a)")
        control = _trial({**entry, **other, "expect": right, "note": ""}, "control", other["input"])
        found.insert(0, replace(control, control=True))
    elif entry["probe"] not in WITHOUT_CONTROL and not any("ROUTE" in one for each in found for one in each.expect):
        raise ValueError(f"case `{entry['id']}` has no control: nothing of it is ever let through")
    return Case(entry["id"], entry["what"], tuple(found))


def _inputs(given: Any) -> Iterator[tuple[str, Any]]:
    pairs = given.items() if isinstance(given, dict) else ((None, one) for one in given)
    for label, one in pairs:
        if isinstance(one, dict) and "bytes" in one:
            for number in _numbers(str(one["bytes"])):
                yield f"{number:02x}", {**one, "input": f"{number:02x}"}
        else:
            plain = one["input"] if isinstance(one, dict) and "input" in one else one
            yield str(label if label is not None else plain), one


def _numbers(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


def _trial(entry: Mapping[str, Any], label: str, given: Any) -> Trial:
    own = given if isinstance(given, dict) and "input" in given else {"input": given}
    expect = own.get("expect", entry.get("expect"))
    if expect is None:
        raise ValueError(f"case `{entry['id']}`, input `{label}`: no outcome is expected")
    return Trial(
        id=entry["id"],
        what=entry["what"],
        probe=entry["probe"],
        label=label,
        input=own["input"],
        expect=tuple(map(str, expect)) if isinstance(expect, list) else (str(expect),),
        options=entry,
        note=str(own.get("note", entry.get("note", ""))),
    )
