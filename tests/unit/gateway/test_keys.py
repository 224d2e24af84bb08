"""The gateway's own secrets are made once, kept, and shown to nobody."""

from pathlib import Path

import pytest

from pointsman.gateway.keys import recall
from pointsman.model.fault import Fault


def test_secrets_are_made_at_the_first_time_and_kept_for_their_owner_alone(tmp_path: Path) -> None:
    files = tmp_path / "wireguard.key", tmp_path / "openvpn.json"
    first, second = (recall(*files, "gw") for _ in range(2))

    assert (first.wireguard, first.authority.certificate) == (second.wireguard, second.authority.certificate)
    assert first.authority.server == second.authority.server
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert first.wireguard not in repr(first)


@pytest.mark.parametrize("file", ["wireguard.key", "openvpn.json"])
@pytest.mark.parametrize("text", ["", "AAAA", "{}", "\u00e9"])
def test_a_damaged_file_is_named_and_not_made_anew(tmp_path: Path, file: str, text: str) -> None:
    recall(tmp_path / "wireguard.key", tmp_path / "openvpn.json", "gw")
    (tmp_path / file).write_text(text)

    with pytest.raises(Fault, match=file.replace(".", r"\.")):
        recall(tmp_path / "wireguard.key", tmp_path / "openvpn.json", "gw")
    assert (tmp_path / file).read_text() == text
