"""Secrets that node and gateway share, each in a file of its own that only its owner can read."""

import base64
import binascii
from pathlib import Path

from pointsman.model.fault import Fault
from pointsman.system.files import read_small

_SHORTEST = 32
_LONGEST = 4096


def read_secret(path: Path) -> bytes:
    """Return a secret: at least 32 bytes, in base64 in the file. No `Fault` repeats what the file says."""
    tried = f"read the secret in `{path}`"
    try:
        text, mode = read_small(path, _LONGEST)
    except OSError as error:
        raise Fault("secret-unfit", tried, error.strerror or str(error)) from error
    if mode & 0o077:
        raise Fault("secret-unfit", tried, "others can read it; make it 0600")
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise Fault("secret-unfit", tried, "it is no base64") from None
    if len(secret) < _SHORTEST:
        raise Fault("secret-unfit", tried, f"it is shorter than {_SHORTEST} bytes; `openssl rand -base64 32` makes one")
    return secret
