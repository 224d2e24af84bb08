"""The table is what a real Envoy 1.40 made of these paths."""

import string

import pytest

from pointsman.policy.path import is_normal, normal

UNESCAPED = string.ascii_letters + string.digits + "-._~"


def test_every_escaped_byte_becomes_what_the_proxy_makes_of_it() -> None:
    for byte in range(256):
        path = f"/a%{byte:02X}b"
        refused = chr(byte) in "/\\\0"
        assert normal(path) == ("" if refused else f"/a{chr(byte)}b" if chr(byte) in UNESCAPED else path)


def test_every_plain_byte_becomes_what_the_proxy_makes_of_it() -> None:
    for byte in range(33, 127):
        letter = chr(byte)
        expected = {"#": "", "\\": "/a/b"}.get(letter, f"/a%{byte:02X}b" if letter in '"<>^`{|}' else f"/a{letter}b")
        assert normal(f"/a{letter}b") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/..", "/"),
        ("/../b", "/b"),
        ("//a", "/a"),
        ("/a///b", "/a/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/...", "/a/..."),
        ("/a/..b", "/a/..b"),
        ("/a%2fb", ""),
        ("/a%5cb", ""),
        ("/a\\..\\b", "/b"),
        ("/%", "/%"),
        ("/%z", "/%z"),
        ("/%4", "/%4"),
        ("/%4g/..", "/"),
        ("/a;b/../c", "/c"),
        ("/%64rafts", "/drafts"),
        ("/a/b/../../../c", "/c"),
        ("/a//../b", "/a/b"),
        ("/a/.//b", "/a/b"),
        ("/%e2%82%ac", "/%e2%82%ac"),
        ("/a%252fb", "/a%252fb"),
        ("*", ""),
        ("a", ""),
        ("", ""),
        ("/\u00e4", ""),
        ("/a b", ""),
    ],
)
def test_a_path_becomes_what_the_proxy_makes_of_it(path: str, expected: str) -> None:
    assert normal(path) == expected


@pytest.mark.parametrize("path", ["/a/../b", "//a", "/a\\b", "/%41", "/a%2fb", "/a/.", "/a%7E"])
def test_what_would_be_changed_is_not_normal(path: str) -> None:
    assert not is_normal(path)
    assert is_normal(normal(path) or "/")
