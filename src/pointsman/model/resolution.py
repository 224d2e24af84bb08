"""What is asked of DNS, and what it answered."""

from dataclasses import dataclass

from pointsman.model.routing import Family


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """The addresses of one family that a name has: its A (4) or AAAA (6) records."""

    name: str
    family: Family


@dataclass(frozen=True, slots=True)
class Answer:
    """The addresses, none where the name does not exist or has none. `ttl` is in seconds, as the server said."""

    addresses: tuple[str, ...]
    ttl: int
