import asyncio
from pathlib import Path

import pytest

from pointsman.gateway import control
from tests.unit.gateway.fakes import Host, keeper


@pytest.mark.parametrize("bandwidth", [True, 0, 7999, -1, 10**12 + 1, "100Mbit", 8000.5])
def test_a_bandwidth_that_no_node_could_ask_for_is_refused(tmp_path: Path, bandwidth: object) -> None:
    async def story() -> None:
        kept = keeper(Host(), tmp_path)
        with pytest.raises(ValueError, match=r"^`bandwidth`: .* \(bit/s\)$"):
            await control._add(kept, {"name": "office", "kind": "wireguard", "bandwidth": bandwidth})
        assert kept.state.grants == {}

    asyncio.run(story())


@pytest.mark.parametrize("bandwidth", [None, 8000, 10**7])
def test_a_fit_bandwidth_is_granted(tmp_path: Path, bandwidth: int | None) -> None:
    async def story() -> None:
        kept = keeper(Host(), tmp_path)
        await control._add(kept, {"name": "office", "kind": "wireguard", "bandwidth": bandwidth})
        assert [grant.asked.bandwidth for grant in kept.state.grants.values()] == [bandwidth]

    asyncio.run(story())
