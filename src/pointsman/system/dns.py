"""The edge to DNS: one question to the declared resolvers, and to no others. It holds no opinion about answers.

Nothing of the host's own resolver configuration takes part: no search list, no `/etc/resolv.conf`, no hosts file.
"""

from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode

from pointsman.model.fault import Fault
from pointsman.model.resolution import Answer, Question

_TIMEOUT = 2.0
_PORT = 53
_TYPES = {4: "A", 6: "AAAA"}


async def ask(question: Question, resolvers: Sequence[str]) -> Answer:
    """Return what the first resolver that can tell says. That a name does not exist is an answer."""
    why = []
    for resolver in resolvers:
        try:
            said = await _ask(question, resolver)
            if isinstance(said, Answer):
                return said
            why.append(f"{resolver} {said}")
        except (dns.exception.DNSException, OSError, EOFError) as error:
            why.append(f"{resolver}: {error or type(error).__name__}")
    tried = f"ask for {_TYPES[question.family]} of `{question.name}`"
    raise Fault("dns", tried, "; ".join(why) or "no resolver is declared")


async def _ask(question: Question, resolver: str) -> Answer | str:
    """Ask one resolver by UDP, and by TCP where the answer did not fit; return what it cannot do where it has none.

    The kernel picks the port at random, the library the id; what does not fit both is ignored.
    """
    name = dns.name.from_text(question.name)
    query = dns.message.make_query(name, _TYPES[question.family])
    try:
        reply, _ = await dns.asyncquery.udp_with_fallback(
            query, resolver, timeout=_TIMEOUT, port=_PORT, ignore_unexpected=True, ignore_errors=True
        )
    except dns.exception.Timeout:
        return f"did not answer within {_TIMEOUT:g} s"
    if not isinstance(reply, dns.message.QueryMessage) or reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return f"answered {dns.rcode.to_text(reply.rcode())}"
    found = reply.resolve_chaining()
    addresses = () if found.answer is None else tuple(record.address for record in found.answer)
    return Answer(tuple(sorted(addresses)), found.minimum_ttl)
