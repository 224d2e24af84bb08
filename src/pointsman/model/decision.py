"""What was decided for one request: a profile or a refusal, with the rule that it rests on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compared:
    """One step of a decision: the attribute looked at, what it was compared with, and the outcome."""

    attribute: str
    asked: str
    answer: str


@dataclass(frozen=True, slots=True)
class Permit:
    """The request leaves, treated as the profile says."""

    profile: str
    rule: str
    trace: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """The request stays: 403. `absent` names the attribute that was missing, if that is why."""

    rule: str
    trace: tuple[Compared, ...]
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The request is ambiguous or broken: 400."""

    why: str


@dataclass(frozen=True, slots=True)
class Misdirected:
    """The connection does not go to an address of the destination that the host names: 421 (RFC 9110, 15.5.20)."""

    destination: str
    address: str


Decision = Permit | Deny | Malformed | Misdirected
