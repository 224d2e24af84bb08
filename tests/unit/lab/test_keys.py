import json
from pathlib import Path

import jwt

from pointsman.lab import clients, keys, world
from pointsman.lab.names import Lab


class Issued(Lab):
    """A lab of which only the keys are there."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        object.__setattr__(self, "_folder", folder)

    @property
    def keys(self) -> Path:
        return self._folder


def test_tokens_verify_with_the_public_key_set_and_carry_their_claims(tmp_path: Path) -> None:
    keys.issue(tmp_path, tmp_path / "keys.json")
    published = jwt.PyJWKSet.from_json((tmp_path / "keys.json").read_text())

    for algorithm in ("ES256", "RS256"):
        token = clients.token(Issued(tmp_path), algorithm, sub="ada", role="admin", groups=["a", "b"])
        found = jwt.decode(
            token, published[algorithm].key, algorithms=[algorithm], audience=world.AUDIENCE, issuer=world.ISSUER
        )
        assert (found["sub"], found["role"], found["groups"]) == ("ada", "admin", ["a", "b"])


def test_the_published_key_set_has_no_private_part(tmp_path: Path) -> None:
    keys.issue(tmp_path, tmp_path / "keys.json")

    for key in json.loads((tmp_path / "keys.json").read_text())["keys"]:
        assert set(key).isdisjoint({"d", "p", "q", "dp", "dq", "qi", "k"})


def test_private_files_are_closed_to_others(tmp_path: Path) -> None:
    keys.issue(tmp_path, tmp_path / "keys.json")

    assert [oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("*.pem")] == ["0o600", "0o600"]
