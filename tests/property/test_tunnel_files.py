"""No tunnel file, however hostile, does anything but give a spec or a list of problems."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid
from pointsman.tunnels.ovpn import parse_ovpn
from pointsman.tunnels.ovpn_config import configuration
from pointsman.tunnels.ovpn_rules import BLOCKS, KNOWN
from pointsman.tunnels.ovpn_words import split_words
from pointsman.tunnels.wgquick import parse_wgquick
from tests.unit.tunnels.samples import OPENVPN, WIREGUARD

EVIL = st.sampled_from(
    ["up /bin/evil", "script-security 2", "plugin evil", '"', "'", "\\", "</ca>", "<key>", "\r", "\x00", "#", " "]
)
LINES = st.lists(st.one_of(EVIL, st.text(max_size=30), st.sampled_from(sorted([*KNOWN, *BLOCKS]))), max_size=6)


def spliced(text: str, lines: list[str], at: int) -> str:
    kept = text.splitlines()
    return "\n".join([*kept[: at % (len(kept) + 1)], *lines, *kept[at % (len(kept) + 1) :]])


@given(LINES, st.integers(0, 20))
def test_a_wireguard_file_gives_a_spec_or_problems(lines: list[str], at: int) -> None:
    with suppress(Invalid):
        parse_wgquick(spliced(WIREGUARD, lines, at), "wg.conf")


@given(LINES, st.integers(0, 20), st.text(max_size=200))
def test_an_openvpn_file_never_gets_a_program_run(lines: list[str], at: int, named: str) -> None:
    def read(name: str) -> str:
        if len(name) % 2:
            raise Fault("file", name, "no such file")
        return named + "\nup /bin/evil\n</ca>\n</key>\n"

    with suppress(Invalid):
        made = configuration(parse_ovpn(spliced(OPENVPN, lines, at), "c.ovpn", read).spec, "pm0").splitlines()
        names = [(split_words(line) or [""])[0] for line in made]
        assert not {"up", "plugin", "down", "route-up", "tls-verify", "ipchange", "iproute"} & set(names)
        assert names.count("script-security") == 1


@given(st.text(max_size=300))
def test_any_text_is_refused(text: str) -> None:
    for parse in (lambda: parse_wgquick(text, "f"), lambda: parse_ovpn(text, "f", lambda _: text)):
        with suppress(Invalid):
            parse()
            raise AssertionError("it was taken")
