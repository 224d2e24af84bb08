"""How a request travels: the answer of a decision."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

Labels = tuple[tuple[str, str], ...]


class Level(IntEnum):
    """Encryption levels, weakest first. Each is a guarantee that a tunnel must meet to be selected.

    NONE        nothing is promised: the packets may leave in clear text
    ENCRYPTED   from this host to the gateway every packet is encrypted and authenticated by an AEAD cipher
                (NIST SP 800-38D, RFC 8439), both ends proved who they are, and session keys have forward secrecy
    STRONG      ENCRYPTED, with a 256-bit cipher, a pinned key or certificate of the gateway and, where TLS
                carries the tunnel, TLS 1.3 (RFC 8446)
    QUANTUM     STRONG, with a pre-shared key mixed into the key exchange against later decryption
    """

    NONE = 0
    ENCRYPTED = 1
    STRONG = 2
    QUANTUM = 3


class Qos(StrEnum):
    """Queue classes and their code points (RFC 4594, RFC 8622)."""

    INTERACTIVE = "interactive"
    DEFAULT = "default"
    BULK = "bulk"

    @property
    def dscp(self) -> int:
        """Return the differentiated services code point (0 to 63)."""
        return {Qos.INTERACTIVE: 18, Qos.DEFAULT: 0, Qos.BULK: 1}[self]


class OnFailure(StrEnum):
    """What happens to a request whose profile has no usable tunnel."""

    BLOCK = "block"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second, and how many may come at once."""

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Request limits; each counts on its own. `None` means no such limit. `bandwidth` is bits per second, each way.

    `guaranteed` is what the profile has on each tunnel whose rate is known, in bits per second.
    """

    profile: Rate | None = None
    per_user: Rate | None = None
    per_destination: Rate | None = None
    bandwidth: int | None = None
    guaranteed: int | None = None


class Choose(StrEnum):
    """Which of the tunnels that fit comes first; what is equal by it is settled by a hash.

    NEAREST        the weakest level that is enough
    ORDERED        as `select.names` lists them
    WEIGHTED       by the hash alone, in proportion to each tunnel's weight
    LEAST_LATENCY  the one whose probes are answered fastest
    CHEAPEST       the lowest cost
    SPREAD         by the hash alone
    """

    NEAREST = "nearest"
    ORDERED = "ordered"
    WEIGHTED = "weighted"
    LEAST_LATENCY = "least-latency"
    CHEAPEST = "cheapest"
    SPREAD = "spread"


class OnMove(StrEnum):
    """What happens to connections through a tunnel that its profile has left for another one."""

    KEEP = "keep"
    DRAIN = "drain"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Health:
    """When a path is dead, alive again, degraded. `interval` and `latency` are seconds, `loss` is a part of 1.

    Dead after `down` probes in a row without an answer, alive after `up` with one. `latency` None sets no limit.
    """

    interval: float = 0.2
    down: int = 3
    up: int = 5
    loss: float = 0.2
    latency: float | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """Which tunnels a profile accepts: all labels must fit; `names`, where given, lists the only candidates."""

    labels: Labels = ()
    names: tuple[str, ...] = ()


class Who(StrEnum):
    """What tells the holders of a profile's tunnels apart."""

    USER = "per-user"
    WORKLOAD = "per-workload"
    RULE = "per-rule"
    ATTRIBUTE = "per-request-attribute"


@dataclass(frozen=True, slots=True)
class Holding:
    """Every holder has a tunnel of its own, made when its first request comes. Times are in seconds.

    `attribute` is what tells holders apart where `who` says so. A first request waits `wait` at most; a tunnel that
    carried nothing for `idle` is taken down; its keys are used for `rotate`, 0 for as long as it lives.
    """

    who: Who
    attribute: str = ""
    wait: float = 3.0
    idle: int = 600
    rotate: int = 86_400


@dataclass(frozen=True, slots=True)
class Profile:
    """A tunnel profile: what a tunnel must offer, and how it treats the request.

    `fail_back` is for how many seconds a better tunnel must have been well before the profile goes back to it, None for
    never; `drain_within` for how many more those connections live that `on_move` says are drained.
    `dscp_outer`: the outer packets of its dedicated tunnels have the code point of `qos` too.
    `dedicated`: the profile as a whole holds one tunnel of the pool; `holding`: each of its holders has one of its own.
    """

    name: str
    encryption: Level
    selector: Selector = Selector()
    dedicated: bool = False
    qos: Qos = Qos.DEFAULT
    limits: Limits = Limits()
    on_failure: OnFailure = OnFailure.BLOCK
    holding: Holding | None = None
    health: Health = Health()
    choose: Choose = Choose.NEAREST
    fail_back: float | None = 30.0
    on_move: OnMove = OnMove.DRAIN
    drain_within: float = 30.0
    dscp_outer: bool = False

    @property
    def shared(self) -> bool:
        """Return whether all tunnels that fit and are up share its connections."""
        alone = self.dedicated or self.holding is not None or self.on_failure is OnFailure.BLOCK
        return not alone and self.choose in (Choose.WEIGHTED, Choose.SPREAD)
