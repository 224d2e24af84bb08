"""What the gateway tells of its tunnels, as JSON has it. Private keys are not among it."""

from pointsman.gateway.grant import Grant
from pointsman.gateway.keeper import Keeper
from pointsman.gateway.site import Server
from pointsman.model.tunnel import Kind
from pointsman.system.clock import boot_time

Json = dict[str, object]


def status(keeper: Keeper, moved: tuple[int, int]) -> Json:
    """Return who this gateway is, what it can give, what it carries, and whether it is in order."""
    gateway = keeper.gateway
    received, sent = moved
    return {
        "gateway": gateway.name,
        "kinds": [str(server.kind) for server in gateway.servers],
        "capacity": {"tunnels": gateway.capacity.tunnels, "bandwidth": gateway.capacity.bandwidth},
        "load": {"tunnels": len(keeper.state.grants), "received": received, "sent": sent},
        "probe": [own for server in gateway.servers for own in server.pool.gateway],
        "healthy": not keeper.why,
        "why": keeper.why,
    }


def granted(keeper: Keeper, grant: Grant) -> Json:
    """Return all that the node needs to bring up its end."""
    server = site(keeper, grant.kind)
    where = server.endpoint
    answer: Json = {
        "id": grant.asked.name,
        "kind": str(grant.kind),
        "addresses": list(grant.addresses),
        "endpoint": {"address": where.address, "port": where.port, "protocol": where.protocol},
        "mtu": server.mtu,
        "probe": list(server.pool.gateway),
        "expires_in": expires_in(grant),
    }
    if grant.kind is Kind.WIREGUARD:
        return answer | {"public_key": keeper.secrets.public_key}
    authority = keeper.secrets.authority
    pinned = {"ca": authority.certificate, "peer_fingerprint": authority.server.fingerprint}
    return answer | {"certificate": grant.certificate, **pinned}


def tunnel(keeper: Keeper, grant: Grant) -> Json:
    """Return how a tunnel is."""
    seen = keeper.traffic(grant)
    return {
        "id": grant.asked.name,
        "kind": str(grant.kind),
        "addresses": list(grant.addresses),
        "expires_in": expires_in(grant),
        "handshake_age": None if seen.age is None else round(seen.age, 1),
        "received": seen.received,
        "sent": seen.sent,
    }


def expires_in(grant: Grant) -> float | None:
    """Return the seconds until a tunnel ends by itself, None for never."""
    return None if grant.expires is None else round(max(0.0, grant.expires - boot_time()), 1)


def site(keeper: Keeper, kind: Kind) -> Server:
    """Return the server of a kind that is offered."""
    return next(server for server in keeper.gateway.servers if server.kind is kind)
