"""Who asks for what in the demo. Nothing in here says what should come of it: that is the policy's business."""

from dataclasses import dataclass
from enum import StrEnum


class By(StrEnum):
    """What makes a call."""

    PYTHON = "python"
    GRPC = "grpc"
    CURL = "curl"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an identity token."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `user` is one of `USERS` or nobody; `spoiled` breaks the signature of that user's token.

    `note` says what is special about it, in words for people.
    """

    by: By
    user: str
    method: str
    host: str
    path: str
    address: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()
    spoiled: bool = False
    note: str = ""

    @property
    def protocol(self) -> str:
        """Return what the interception sees it as."""
        return {By.GRPC: "grpc", By.TCP: "tcp"}.get(self.by, "http")

    def __str__(self) -> str:
        """Return it in short."""
        if self.by is By.TCP:
            return f"{self.address} port {self.port}"
        return f"{self.host}{self.path}" if self.by is By.GRPC else f"{self.method} {self.host}{self.path}"


USERS = (User("ada", "admin"), User("ann", "admin"), User("bob", "clerk"))
UID = 1000
FRONT = "198.51.100.83"
RECORDS = "198.51.100.82"
ECHO = 7000


def _ask(user: str, method: str, host: str, path: str) -> Call:
    return Call(By.PYTHON, user, method, host, path, FRONT, 80)


def _rpc(user: str, host: str, path: str) -> Call:
    return Call(By.GRPC, user, "POST", host, path, FRONT, 50051)


def _curl(user: str, method: str, host: str, path: str, address: str) -> Call:
    return Call(By.CURL, user, method, host, path, address, 80)


# Who each get a tunnel of their own
ADA = _ask("ada", "GET", "records.example", "/patients/7")
ANN = _ask("ann", "GET", "records.example", "/patients/7")

ONE_CONNECTION = (
    _ask("ada", "GET", "records.example", "/patients/7"),
    _ask("bob", "GET", "records.example", "/patients/7"),
    _ask("bob", "POST", "pay.example", "/charge"),
    _ask("", "GET", "public.example", "/news"),
    _ask("ada", "PUT", "records.example", "/patients/7"),
    _ask("ada", "DELETE", "records.example", "/patients/7"),
    _ask("ada", "GET", "records.example", "/handbook"),
    _ask("", "POST", "public.example", "/news"),
)

CALLS = (
    _rpc("ada", "records.example", "/Patients/Get"),
    _rpc("bob", "records.example", "/Patients/Get"),
    _rpc("ada", "records.example", "/Patients/Delete"),
    _rpc("", "public.example", "/News/List"),
)

COMMANDS = (
    _curl("", "GET", "public.example", "/news", "2001:db8:2::80"),
    _curl("ada", "GET", "records.example", "/patients/7", "2001:db8:2::82"),
    _curl("bob", "POST", "pay.example", "/charge", "198.51.100.81"),
)

BURST = _ask("bob", "GET", "pay.example", "/rates")

ATTEMPTS = (
    Call(
        By.CURL,
        "",
        "GET",
        "records.example",
        "/patients/7",
        RECORDS,
        80,
        headers=(("x-role", "admin"), ("x-pointsman-claim-role", "admin")),
        note="forged context headers",
    ),
    Call(By.CURL, "ada", "GET", "records.example", "/patients/7", RECORDS, 80, spoiled=True, note="forged token"),
    Call(By.CURL, "", "GET", "public.example", "/news", RECORDS, 80, note="another destination's address"),
    Call(By.TCP, "", "", "", "", RECORDS, ECHO, note="bytes that are not HTTP"),
)

# After a gateway died: what went through it is refused, and meanwhile the rest goes on.
ORPHANED = Call(By.PYTHON, "bob", "POST", "pay.example", "/charge", FRONT, 80)
OTHERS = (_ask("", "GET", "public.example", "/news"), ANN)
