"""Every way out that was thought of, tried for real against the guard. docs/security.md says what may leave."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from pointsman.dataplane.guard import GuardSpec, State

PROBES = sorted(run_path(str(Path(__file__).parent / "guard_probes.py"))["PROBES"])

# These need a partner that answers; a frame on the tunnel's cable is seen there, not by the witness.
ELSEWHERE = {"frames_into_the_tunnel_netraw", "into_the_tunnel_netraw"}
NEED_ROOT = {"udp_in_the_shape_of_dhcp"}


@pytest.fixture(autouse=True)
def _no_rules_left(bench) -> Iterator[None]:
    yield
    bench.open()


@pytest.mark.parametrize("name", [name for name in PROBES if name not in ELSEWHERE])
def test_without_a_guard_the_witness_sees_it(bench, name: str) -> None:
    bench.open()
    since = bench.watch()

    said = bench.probe(name, 0 if name in NEED_ROOT else 2001)

    assert since().canaries > 0, said


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN])  # closed captures nothing, open captures port 80
@pytest.mark.parametrize("uid", [2001, 0])
@pytest.mark.parametrize("name", PROBES)
def test_nothing_of_an_application_reaches_the_wire(
    bench, open_spec: GuardSpec, name: str, uid: int, state: State
) -> None:
    bench.guard(replace(open_spec, state=state))
    since = bench.watch()

    bench.probe(name, uid)

    seen = since()
    assert (seen.canaries, seen.traffic()) == (0, {})
