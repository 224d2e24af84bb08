"""Who holds a tunnel, who may have none beside it, and for how long."""

from dataclasses import replace
from pathlib import Path

from pointsman.model.gateway import Bounds, Holder
from pointsman.model.profile import Holding, Who
from pointsman.model.tunnel import Lease
from pointsman.node.holders import REVOKED, Holders
from pointsman.node.holdings import Holdings, source_of
from pointsman.node.made import Kept
from pointsman.system.clock import boot_time
from tests.unit.node.test_holdings import POLICY
from tests.unit.node.test_workshop import GATEWAY, GIVEN, KEY, MADE, workshop

SOURCE = source_of(Holding(Who.USER), POLICY)
MANY = Bounds()
ADA, BOB = (Holder("vault", key, SOURCE) for key in ("ada", "bob"))


def holders(folder: Path, bounds: Bounds = MANY, leaving: float | None = None) -> Holders:
    """Ada holds one tunnel; another one is spare."""
    hers = replace(MADE, holder=ADA, leaving=leaving)
    spare = replace(MADE, name="gw-2", holder=None, leaving=leaving)
    shop, _ = workshop(folder, GATEWAY, kept=(Kept(hers, KEY, GIVEN), Kept(spare, KEY, GIVEN)))
    return Holders(shop, bounds, lambda: POLICY)


def test_tunnels_are_held_and_spare_until_they_leave(tmp_path: Path) -> None:
    gateways = {"gw-1": "gw", "gw-2": "gw"}

    assert holders(tmp_path).holdings == Holdings((Lease("gw-1", "vault", "ada"),), ("gw-2",), gateways)
    assert holders(tmp_path, leaving=boot_time()).holdings == Holdings((), (), gateways)


def test_a_node_and_a_holder_have_no_more_tunnels_than_their_bounds(tmp_path: Path) -> None:
    again = replace(ADA, profile="each")
    node, each = holders(tmp_path, Bounds(node=2, holder=9)), holders(tmp_path, Bounds(node=9, holder=1))

    assert [node.objection(BOB, ()), node.objection(BOB, (again,))] == ["", "this node holds 2 tunnels already"]
    assert [each.objection(BOB, ()), each.objection(again, ())] == ["", "its holder has 1 tunnels already"]


def test_whose_lease_was_revoked_gets_no_other_until_the_ban_is_over(tmp_path: Path) -> None:
    known, now = holders(tmp_path), boot_time()
    known.ban("vault", "ada", now + 60.0)

    assert [known.objection(one, ()) for one in (ADA, BOB)] == [REVOKED, ""]
    known.forget(now)
    assert known.is_banned(ADA)
    known.forget(now + 60.0)
    assert not known.is_banned(ADA)
