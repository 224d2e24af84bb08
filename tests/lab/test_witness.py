"""The witness sees the canary in the clear, whatever protocol carries it: without this, its zero proves nothing."""

from collections.abc import Iterator

import pytest

from pointsman.lab import watch
from pointsman.lab.names import Lab
from tests.lab.steered import PORTS, Steered, in_clear, steering

KINDS = pytest.mark.parametrize("kind", PORTS)


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Steered]:
    with steering(lab) as made:
        yield made


def seen(lab: Lab, kind: str, where: str) -> int:
    """Send the canary once in the clear and return how many frames of it were seen."""
    with watch.witness(lab) as witness:
        in_clear(lab, kind, witness.canary, where)
        return witness.leaked()


# First in this file: an agent is not there yet.
@KINDS
@pytest.mark.parametrize("where", ["header", "body"])
def test_what_a_client_sends_past_the_proxy_is_seen(lab: Lab, kind: str, where: str) -> None:
    assert seen(lab, kind, where) == 1


@KINDS
@pytest.mark.parametrize("where", ["header", "body"])
def test_what_the_proxy_sends_in_the_clear_is_seen(host: Steered, kind: str, where: str) -> None:
    assert seen(host.lab, kind, where) == 1
