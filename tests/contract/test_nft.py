"""The edge to nftables, against a real kernel in a network namespace of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pointsman.lab import spaces

_HEAD = """
from pointsman.dataplane.guard import GuardSpec, State, guard_text, removal_text
from pointsman.model.fault import Fault
from pointsman.system.nft import apply_rules, check_rules, list_tables, read_counters
closed = guard_text(GuardSpec(64001, 64002, State.CLOSED))
OURS = (("inet", "pointsman"), ("netdev", "pointsman_frames"))
"""


@pytest.fixture
def space() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    with spaces.space("nft") as name:
        yield name


def turn(space: str, code: str) -> str:
    command = ["nsenter", f"--net=/run/netns/{space}", sys.executable, "-c", _HEAD + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_closed_form_needs_nothing_but_user_ids(space: str) -> None:
    assert turn(space, "apply_rules(closed); print(sorted(list_tables()))") == str(
        [("inet", "pointsman"), ("netdev", "pointsman_frames")]
    )


def test_counters_are_read_by_name_and_a_missing_table_has_none(space: str) -> None:
    code = """
print(read_counters(*OURS))
apply_rules(guard_text(GuardSpec(64001, 64002, State.CLOSED), {"refused_tcp": (3, 180), "dropped_frames": (1, 60)}))
found = read_counters(*OURS)
print(found["refused_tcp"], found["dropped_frames"], found["dropped_owned"])
"""
    assert turn(space, code) == "{}\n(3, 180) (1, 60) (0, 0)"


def test_a_refused_transaction_changes_nothing_and_says_why(space: str) -> None:
    code = """
apply_rules(closed)
for text in ("nonsense", removal_text() + "table inet x { chain c { jump nosuch; }; }"):
    try: apply_rules(text)
    except Fault as fault: print(fault.label, bool(fault.why))
print(len(list_tables()))
"""
    assert turn(space, code) == "nft-refused True\nnft-refused True\n2"


def test_checking_changes_nothing(space: str) -> None:
    assert turn(space, "check_rules(closed); print(list_tables())") == "()"


def test_removal_works_where_there_is_nothing(space: str) -> None:
    code = "apply_rules(removal_text()); apply_rules(closed); apply_rules(removal_text()); print(list_tables())"
    assert turn(space, code) == "()"
