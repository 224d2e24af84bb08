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


def test_faults_that_stand_side_by_side_are_told_once_a_minute_each(capsys: pytest.CaptureFixture[str]) -> None:
    now = [5.0]
    log = Log(lambda: now[0])
    guard, proxy = Fault("nft", "replace the guard", "no such device"), Fault("envoy", "start envoy", "it ended")

    for second in range(119):
        now[0] = 5.0 + second
        log.fault(guard)
        log.event("a turn")
        log.fault(proxy)

    told = [line["label"] for line in lines(capsys) if line["level"] == "error"]
    assert told == ["nft", "envoy"] * 2


def test_of_ever_new_faults_only_the_latest_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(lambda: 5.0)

    for number in [*range(300), 299, 0]:
        log.fault(Fault("nft", "replace the guard", f"no device {number}"))

    assert [line["event"] for line in lines(capsys)][300:] == ["replace the guard: no device 0"]
