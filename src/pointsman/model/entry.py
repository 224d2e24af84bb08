"""The local ports where captured connections enter the proxy. The port alone says what the kernel knows of them."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How the bytes of a captured port are read."""

    HTTP = "http"
    TCP = "tcp"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry port of the proxy on 127.0.0.1 and ::1.

    `uid` is the user that it stands for, None for every user that no rule names. `lane` is the cluster that
    a plain TCP flow goes to, decided by the kernel rules before it enters; empty where that is refused.
    """

    port: int
    mode: Mode
    uid: int | None
    lane: str = ""
