"""Which addresses do names have? Answers of DNS in, bounded sets of addresses out. Pure; times are in seconds.

An address stays for its time to live, and at least ten minutes, after it was last seen: programs go on using what they
were told. Nothing is forgotten while no resolver answers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pointsman.model.policy import Policy
from pointsman.model.resolution import Answer, Question
from pointsman.model.routing import FAMILIES

SOONEST = 5
OFTEN = 60
KEPT = 600
LONGEST = 86400
MOST = 128  # of each family: 256 addresses a name

# What no name may lead to: this host, the local link (metadata services included), groups, and what is none (RFC 6890).
_FORBIDDEN = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
            *("::/96", "::ffff:0:0/96", "fe80::/10", "fd00:ec2::254/128", "ff00::/8"),
        ),
    )
)
_TRANSLATED = ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ip_network("2002::/16")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one question: its addresses with the time until which each stays, and how it was answered last.

    `refused` are the addresses of the last answer that no name may have; `drops` counts them over all answers.
    `why` says why the last question had no answer.
    """

    addresses: Mapping[str, float] = field(default_factory=dict)
    answered: float | None = None
    due: float = 0.0
    refused: tuple[str, ...] = ()
    drops: int = 0
    why: str = ""


NOTHING = Known()


def answered(known: Known, question: Question, answer: Answer, now: float) -> Known:
    """Return what is known after an answer."""
    given = [address for address in dict.fromkeys(answer.addresses) if ip_address(address).version == question.family]
    good = [address for address in given if not forbidden(address)]
    refused = tuple(sorted(set(given) - set(good)))
    ttl = min(max(answer.ttl, SOONEST), LONGEST)
    kept = {address: until for address, until in known.addresses.items() if until > now}
    for address in good:
        kept[address] = max(now + max(ttl, KEPT), kept.get(address, 0.0))
    # what was just answered comes first, then what stays longest
    fresh = set(good)
    best = sorted(kept, key=lambda address: (address not in fresh, -kept[address], address))[:MOST]
    return Known(
        addresses={address: kept[address] for address in sorted(best)},
        answered=now,
        due=now + min(ttl, OFTEN),
        refused=refused,
        drops=known.drops + len(refused),
    )


def failed(known: Known, why: str, now: float) -> Known:
    """Return what is known after a question without an answer: as much as before."""
    return replace(known, due=now + SOONEST, why=why)


def stale(known: Known, now: float) -> bool:
    """Say whether what is known of a name that nobody asks for any more may go."""
    return known.answered is None or known.answered + KEPT < now


def forbidden(address: str) -> bool:
    """Say whether no name may have this address, whatever DNS says."""
    found = ip_address(address)
    return any(_inside(each) for each in (found, _within(found)) if each is not None)


def questions(policy: Policy) -> tuple[Question, ...]:
    """Return what has to be asked for this policy, in its order."""
    names = dict.fromkeys(name for one in policy.destinations if one.resolved for name in names_of(one.hosts))
    return tuple(Question(name, family) for name in names for family in FAMILIES)


def names_of(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts that are names, not addresses."""
    return tuple(host for host in hosts if not host.startswith("[") and not host.replace(".", "").isdigit())


def found_by(book: Mapping[Question, Known]) -> Mapping[str, tuple[str, ...]]:
    """Return the addresses of every name."""
    return {name: addresses(book, name) for name in dict.fromkeys(question.name for question in book)}


def addresses(book: Mapping[Question, Known], name: str) -> tuple[str, ...]:
    """Return the addresses of a name, both families."""
    return tuple(a for family in FAMILIES for a in book.get(Question(name, family), NOTHING).addresses)


def placed(policy: Policy, found: Mapping[str, Iterable[str]]) -> Policy:
    """Return the policy with the addresses of the names in it: those of DNS beside those that are declared."""
    destinations = tuple(
        replace(one, addresses=_networks((*one.addresses, *(a for host in one.hosts for a in found.get(host, ())))))
        if one.resolved
        else one
        for one in policy.destinations
    )
    return policy if destinations == policy.destinations else replace(policy, destinations=destinations)


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    networks = {ip_network(text) for text in texts}
    return tuple(str(network) for network in sorted(networks, key=lambda n: (n.version, int(n.network_address))))


def _inside(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _FORBIDDEN)


def _within(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator would make of an IPv6 one (RFC 6052, RFC 3056)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour if address in _SIX_TO_FOUR else None
