"""The Envoy process: what it may do, that it outlives whoever started it, and how it takes new files."""

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.lab import exec as on
from pointsman.lab import world
from pointsman.lab.clients import connected
from pointsman.lab.names import Lab
from pointsman.lab.wait import until
from pointsman.model.fault import Fault
from pointsman.system import envoy, processes

from .conftest import FAST, LANES, SAFE, UID, WAYS, Proxy, inside

ADDRESS, HOST = "198.51.100.80", "public.example"
CAP_NET_RAW = 1 << 13


def _source(lab: Lab) -> object:
    with connected(lab, ADDRESS, 80) as client:
        return client.ask("/", host=HOST).json()["source"]


def test_it_has_one_capability_and_a_user_of_its_own(proxy: Proxy) -> None:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{proxy.process.pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(UID)] * 4
    assert (status["Groups"].strip(), status["NoNewPrivs"]) == ("", "1")
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {CAP_NET_RAW}


def test_its_admin_socket_is_for_nobody_else(lab: Lab, proxy: Proxy) -> None:
    assert (proxy.place.state.stat().st_mode & 0o777, (proxy.place.state / "admin.sock").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    listening = on.demand(lab, world.INSTANCE, ["ss", "-Hltn"]).split()
    assert all(address.startswith(("127.0.0.1:20", "[::1]:20")) for address in listening[3::5])


def test_a_way_changes_without_a_failed_request(lab: Lab, proxy: Proxy) -> None:
    statuses: list[int] = []
    sources: list[object] = []
    end = threading.Event()

    def ask() -> None:
        with connected(lab, ADDRESS, 80) as client:
            while not end.is_set():
                answer = client.ask("/", host=HOST)
                statuses.append(answer.status)
                sources.append(answer.json()["source"])

    asking = threading.Thread(target=ask)
    asking.start()
    fast = next(lane for lane in LANES if lane.profile == "fast")
    moved = replace(fast, tunnel="m", mark=0x00600000, sources=SAFE)
    for lane in (moved, fast) * 3:
        proxy.publish(proxy.files(proxy.policy, {**WAYS, "fast": lane}, (*LANES[1:], lane)))
        before = len(sources)
        until(lambda: len(sources) > before + 4, "requests went on")  # noqa: B023
        assert sources[-1] == lane.sources[0]
    end.set()
    asking.join(10)
    assert set(statuses) == {200}
    assert {name["name"] for name in _clusters(proxy)} == {lane.cluster for lane in LANES} | {
        f"entry-{entry.port}" for entry in proxy.ports if entry.lane
    }


def _clusters(proxy: Proxy) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((proxy.place.folder / "cds/cds.json").read_text())["resources"]
    return found


def test_a_file_that_envoy_refuses_changes_nothing(lab: Lab, proxy: Proxy) -> None:
    files = proxy.files(proxy.policy)
    broken = {**files.named(), "rds/rds.json": files.routes.text.replace('"domains":["*"]', '"domains":["a","a"]')}
    broken["rds/rds.json"] = broken["rds/rds.json"].replace(files.routes.version, "broken")
    with pytest.raises(Fault, match="apply rds broken") as raised:
        envoy.publish(proxy.place, broken, {**files.versions(), "rds": "broken"})
    assert raised.value.label == "envoy-refused"
    assert _source(lab) == FAST[0]
    assert (proxy.place.folder / "rds/rds.json").read_text() == files.routes.text


def test_whoever_comes_later_adopts_it(lab: Lab, proxy: Proxy) -> None:
    noted = proxy.place.folder / "envoy.pid"
    assert json.loads(noted.read_text()) == {"pid": proxy.process.pid, "started": proxy.process.started}
    assert envoy.adopt(proxy.place) == proxy.process


@pytest.mark.parametrize("noted", [None, '{"pid": 1, "started": 1}', "{"])
def test_one_that_nobody_could_note_is_found_and_no_second_comes_beside_it(
    lab: Lab, proxy: Proxy, noted: str | None
) -> None:
    file = proxy.place.folder / "envoy.pid"
    kept = file.read_text()
    listening = _listening(lab)
    file.unlink() if noted is None else file.write_text(noted)
    assert envoy.adopt(proxy.place) == proxy.process
    with inside(lab):
        assert envoy.start(proxy.place) == proxy.process
    assert _listening(lab) == listening > 0
    file.write_text(kept)


def test_killed_it_starts_again_from_the_files_alone(lab: Lab, proxy: Proxy) -> None:
    os.kill(proxy.process.pid, signal.SIGKILL)
    until(lambda: not processes.alive(proxy.process), "envoy is gone")
    assert envoy.adopt(proxy.place) is None
    with inside(lab):
        proxy.process = envoy.start(proxy.place)
    envoy.wait_ready(proxy.place, proxy.process)
    assert _source(lab) == FAST[0]


def test_without_the_file_of_a_filter_it_starts_and_takes_no_connection(lab: Lab, proxy: Proxy) -> None:
    verifier = proxy.place.folder / "ecds/identity.json"
    kept = verifier.read_text()
    verifier.unlink()
    for there in (False, True):
        processes.end(proxy.process)
        if there:
            envoy.write(proxy.place, {"ecds/identity.json": kept})
        with inside(lab):
            proxy.process = envoy.start(proxy.place)
        envoy.wait_ready(proxy.place, proxy.process)
        assert bool(_listening(lab)) is there
    assert _source(lab) == FAST[0]


def test_a_link_in_the_folder_of_envoy_leads_root_nowhere(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "envoy.log").symlink_to(tmp_path / "target")

    with pytest.raises(Fault, match=r"envoy\.log"):
        envoy.start(envoy.Place(tmp_path, tmp_path, os.getuid(), 1))


def test_logs_that_were_moved_away_are_opened_anew(lab: Lab, proxy: Proxy) -> None:
    log = proxy.place.state / "access.log"
    log.rename(log.with_suffix(".1"))
    proxy.place.admin.reopen_logs()
    _source(lab)
    until(lambda: log.exists() and bool(log.read_text()), "a record is in the new file")


def test_a_large_body_is_passed_on_and_not_kept(lab: Lab, proxy: Proxy) -> None:
    def resident() -> int:
        line = next(x for x in Path(f"/proc/{proxy.process.pid}/status").read_text().splitlines() if "VmRSS" in x)
        return int(line.split()[1]) // 1024

    before, most = resident(), [0]
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.05):
            most[0] = max(most[0], resident())

    watching = threading.Thread(target=watch)
    watching.start()
    size = 1 << 30
    argv = ["curl", "-s", "-H", f"Host: {HOST}", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]
    done = on.run(lab, world.INSTANCE, [*argv, f"http://{ADDRESS}/big?bytes={size}"], timeout=120)
    end.set()
    watching.join()
    assert done.stdout == f"200 {size}"
    assert most[0] - before < 64


def _listening(lab: Lab) -> int:
    return on.demand(lab, world.INSTANCE, ["ss", "-Hltn"]).count("127.0.0.1:20100 ")
