"""The edge to kernel settings of this network namespace, below `/proc/sys/net`."""

from pathlib import Path

from pointsman.model.fault import Fault

_ROOT = Path("/proc/sys/net")


def read(name: str) -> str | None:
    """Return a setting, like `ipv4/conf/eth0/forwarding`; None where this kernel or namespace does not have it."""
    try:
        return (_ROOT / name).read_text("ascii").strip()
    except FileNotFoundError:
        return None


def write(name: str, value: str) -> None:
    """Change a setting that is not so already; one that is not there stays so."""
    if read(name) in (None, value):
        return
    try:
        (_ROOT / name).write_text(value, "ascii")
    except OSError as error:
        raise Fault("sysctl", f"write `{_ROOT / name}`", str(error)) from error


def devices(family: str) -> tuple[str, ...]:
    """Return what has settings of its own in a family: devices, `all` and `default`."""
    return tuple(sorted(path.name for path in (_ROOT / family / "conf").iterdir()))
