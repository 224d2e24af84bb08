import os
import ssl
from pathlib import Path

import pytest

from pointsman.gateway.credentials import Credentials
from pointsman.gateway.site import Api
from pointsman.model.fault import Fault
from pointsman.system.certificates import Credential, authority, issue

OLD, NEW = authority("old", 1), authority("new", 1)


def files(folder: Path, nodes: Credential) -> Api:
    api = Api(("192.0.2.1",), 7443, folder / "api.pem", folder / "api.key", folder / "nodes.pem")
    own = issue(OLD, "gateway", server=True, days=1)
    api.certificate.write_text(own.certificate)
    api.key.write_text(own.key)
    api.nodes.write_text(nodes.certificate)
    return api


def let_in(credentials: Credentials, folder: Path, signed_by: Credential) -> bool:
    """Shake hands in memory, as a node that this authority has signed for."""
    node = issue(signed_by, "node", server=False, days=1, alternatives=["urn:pointsman:node:n"])
    (folder / "node.pem").write_text(node.certificate + node.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / "node.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    door = credentials.context.wrap_bio(there, back, server_side=True)
    caller = context.wrap_bio(back, there)
    try:
        for end in (caller, door, caller, door):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    except ssl.SSLError:
        return False
    return bool(door.getpeercert())


def test_only_nodes_of_the_authority_are_let_in(tmp_path: Path) -> None:
    credentials = Credentials(files(tmp_path, OLD))

    assert credentials.refresh()
    assert [let_in(credentials, tmp_path, authority) for authority in (OLD, NEW)] == [True, False]


def test_an_authority_that_was_replaced_is_believed_no_more(tmp_path: Path) -> None:
    credentials = Credentials(api := files(tmp_path, OLD))
    credentials.refresh()

    api.nodes.unlink()
    api.nodes.write_text(NEW.certificate)

    assert credentials.refresh()
    assert [let_in(credentials, tmp_path, authority) for authority in (OLD, NEW)] == [False, True]
    assert not credentials.refresh()


def test_a_file_that_is_older_than_the_others_is_seen_to_have_changed(tmp_path: Path) -> None:
    credentials = Credentials(api := files(tmp_path, OLD))
    credentials.refresh()

    (prepared := tmp_path / "prepared").write_text(NEW.certificate)
    stamp = api.nodes.stat().st_mtime_ns
    prepared.replace(api.nodes)
    os.utime(api.nodes, ns=(stamp - 10**9, stamp - 10**9))

    assert credentials.refresh()


def test_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    credentials = Credentials(api := files(tmp_path, OLD))
    credentials.refresh()

    api.nodes.write_text("no certificate")

    with pytest.raises(Fault, match=r"nodes\.pem` holds no certificate in PEM"):
        credentials.refresh()
    assert let_in(credentials, tmp_path, OLD)


def test_what_cannot_be_used_is_told_in_full_and_again_at_the_next_look(tmp_path: Path) -> None:
    credentials = Credentials(api := files(tmp_path, OLD))
    api.certificate.unlink()
    api.key.write_text("canary")

    for _ in range(2):
        with pytest.raises(Fault) as fault:
            credentials.refresh()
        assert fault.value.why == (
            f"`{api.certificate}` cannot be read: No such file or directory; "
            f"`{api.key}` holds no private key in PEM, or a damaged one"
        )


def test_no_session_is_taken_up_again_without_a_certificate(tmp_path: Path) -> None:
    credentials = Credentials(files(tmp_path, OLD))

    assert credentials.context.num_tickets == 0
