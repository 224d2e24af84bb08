"""The users of this host."""

import pwd


def uid_of(user: int | str) -> int | None:
    """Return the id of a user; None where this host has nobody of that name."""
    if isinstance(user, int):
        return user
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return None
