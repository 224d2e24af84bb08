from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.gateway import far_end


@pytest.fixture
def world(tmp_path: Path) -> Iterator[far_end.World]:
    """Hosts around a gateway that is not started yet, so that its file can be changed."""
    with far_end.world(tmp_path) as made:
        yield made


@pytest.fixture
def gate(world: far_end.World) -> far_end.World:
    """The same with a gateway that serves."""
    world.start()
    return world
