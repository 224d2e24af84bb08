import json

import pytest

from pointsman.model.fault import Fault
from pointsman.system.log import Log


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    Log().event("profile moved", profile="vault", what="a field of any name")

    [line] = lines(capsys)
    assert line.pop("time")
    assert line == {"level": "info", "event": "profile moved", "profile": "vault", "what": "a field of any name"}


def test_a_fault_is_told_once_until_something_else_happens(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    fault = Fault("nft", "replace the guard", "no such device")

    log.fault(fault)
    log.fault(fault)
    log.event("policy applied")
    log.fault(fault)

    assert [line["level"] for line in lines(capsys)] == ["error", "info", "error"]
