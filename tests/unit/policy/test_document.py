"""YAML to values with places: what is refused, and what plain scalars mean."""

import time

import pytest

from pointsman.model.problem import Invalid, Place, Problem
from pointsman.policy.document import MAX_BYTES, read
from pointsman.policy.node import plain


def value_of(text: str) -> object:
    return plain(read(f"v: {text}\n".encode(), "p.yaml").root.entries["v"])


def refused(data: bytes) -> tuple[Problem, ...]:
    with pytest.raises(Invalid) as caught:
        read(data, "p.yaml")
    return caught.value.problems


def noted(text: str) -> list[tuple[int, int, str]]:
    return [(one.place.line, one.place.column, one.label) for one in read(text.encode(), "p.yaml").problems]


def first(data: bytes) -> tuple[int, int, str]:
    problem = refused(data)[0]
    return problem.place.line, problem.place.column, problem.label


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("'true'", "true"),
        ("yes", "yes"),
        ("no", "no"),
        ("80", 80),
        ("-80", -80),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("9223372036854775808", "9223372036854775808"),
        ("1.5", 1.5),
        ("", None),
        ("~", None),
        ("[a, 1]", ["a", 1]),
        ("{a: 1}", {"a": 1}),
        ("=", "="),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_every_value_knows_its_line_and_column() -> None:
    document = read(b"a:\n  - b: 1\n    c: {d: x}\n", "p.yaml")

    assert document.find("a", 0, "c", "d") == Place("p.yaml", 3, 12)
    assert document.find("a", 0, "c", key=True) == Place("p.yaml", 3, 5)
    assert document.find("a", 0, "missing") == Place("p.yaml", 2, 5)


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"- a\n", b"text\n", b"3\n"])
def test_a_file_that_is_not_a_mapping_is_refused(text: bytes) -> None:
    assert refused(text)[0].label == "not-a-mapping"


def test_a_file_of_50_mb_is_refused_before_it_is_read() -> None:
    data = b"a: " + b"x" * (50 * 1024 * 1024)
    begin = time.monotonic()

    assert refused(data) == (
        Problem(Place("p.yaml"), "too-large", "has 50 MB, more than the 32 MB that a policy may have"),
    )
    assert time.monotonic() - begin < 0.5
    assert MAX_BYTES == 32 * 1024 * 1024


def test_bytes_that_are_not_utf8_are_named_with_their_place() -> None:
    assert refused(b"a: 1\nb: \xff\n") == (
        Problem(Place("p.yaml", 2, 4), "not-utf8", "byte 0xff is not UTF-8", "save the file as UTF-8"),
    )
    assert refused("a: 1\n".encode("utf-16"))[0].label == "not-utf8"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x85", "\u202e", "\u2066", "\u200b", "\u2028", "\rx"])
def test_characters_that_deceive_the_reader_are_refused_wherever_they_stand(character: str) -> None:
    assert first(f"a: 1\n# x{character}\n".encode()) == (2, 4, "unsafe-character")


def test_an_escape_cannot_bring_in_what_the_file_may_not_hold() -> None:
    assert noted('a: "x\\u202Ey"\n') == [(1, 4, "unsafe-character")]


def test_a_byte_order_mark_and_carriage_returns_do_no_harm() -> None:
    assert plain(read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "p.yaml").root) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "text",
    ["a: !!python/object/apply:os.system [id]\n", "a: !!str 1\n", "a: !x y\n", "a: !!python/name:os.system ''\n"],
)
def test_tags_are_refused(text: str) -> None:
    assert noted(text) == [(1, 4, "tag")]


def test_a_key_given_twice_is_a_problem_at_the_second() -> None:
    assert read(b"a: 1\nb: 2\na: 3\n", "p.yaml").problems == (
        Problem(Place("p.yaml", 3, 1), "duplicate-key", "key `a` is given twice", "first at p.yaml:1:1"),
    )


def test_an_alias_stands_for_its_anchor() -> None:
    assert plain(read(b"a: &x {b: 1}\nc: *x\n", "p.yaml").root) == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("text", [b"a: &x [*x]\n", b"a: &x {b: *x}\n", b"a: &x\n  b:\n    - *x\n"])
def test_an_anchor_that_contains_itself_is_refused(text: bytes) -> None:
    assert first(text)[2] == "cyclic-alias"


def test_an_alias_without_anchor_is_refused() -> None:
    assert first(b"a: *x\n")[:2] == (1, 4)


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    begin = time.monotonic()

    assert first(bomb.encode())[2] == "too-large"
    assert time.monotonic() - begin < 0.5


def test_deep_nesting_is_refused_without_recursion() -> None:
    assert first(b"a: " + b"[" * 100_000)[2] == "too-deep"
    assert first(b"a: " + b"{a: " * 100_000)[2] == "too-deep"


@pytest.mark.parametrize("text", [b"a: .nan\n", b"a: .inf\n", b"a: -.INF\n"])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    assert noted(text.decode()) == [(1, 4, "not-a-number")]


def test_a_tab_that_indents_is_named() -> None:
    assert refused(b"a:\n\tb: 1\n") == (
        Problem(Place("p.yaml", 2, 1), "yaml", "a tab cannot indent", "indent with spaces"),
    )


def test_a_second_document_is_refused() -> None:
    assert first(b"a: 1\n---\nb: 2\n") == (2, 1, "documents")


def test_a_key_that_is_no_text_is_refused() -> None:
    assert first(b"? [a]\n: 1\n")[2] == "key"


def test_broken_yaml_is_reported_with_its_place() -> None:
    assert first(b"a: [1, 2\nb: 3\n")[::2] == (2, "yaml")


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("hosts: [*.x.example]\n", (1, 9), "`*` without quotes begins an alias", "quote it: '*.x.example'"),
        ("hosts:\n  - *.x.example\n", (2, 5), "`*` without quotes begins an alias", "quote it: '*.x.example'"),
        ("hosts:\n  - *\n", (2, 5), "`*` without quotes begins an alias", "quote it: '*'"),
        ("a: *x\n", (1, 4), "`*x` is not defined", "quote it if it is a text: '*x'"),
        ("- {when: !a && b}\n", (1, 13), "`&` without quotes begins an anchor", "quote it: '!a && b'"),
        ("- {when: a ? b : c}\n", (1, 16), "`:` stands in a text without quotes", "quote it: 'a ? b : c'"),
        ("- when: a ? b : c\n", (1, 15), "`:` with a space stands in a text", "quote it: 'a ? b : c'"),
        ("when: u == 'a: b' # x\n", (1, 14), "`:` with a space stands in a text", "quote it: 'u == ''a: b'''"),
        (
            "- {when: f(a, 'b') ? c : d}\n",
            (1, 18),
            "the text goes on after its closing quote",
            "put the whole value in quotes",
        ),
        ("a: @x\n", (1, 4), "a text cannot begin with `@`", "quote it: '@x'"),
        ("a: [%x, y]\n", (1, 5), "a text cannot begin with `%`", "quote it: '%x'"),
        ("a: , x\n", (1, 4), "a text cannot begin with `,`", "quote it: ', x'"),
        ("a: - b\n", (1, 4), "a list cannot begin behind its key", "on a line of its own"),
        ("a: [b] c\n", (1, 8), "`c` is not expected here", "put the whole value in quotes"),
        ("a: {b: ::c}\n", (1, 8), "a text cannot begin with `:`", "quote it: '::c'"),
        ("a: {b: c:, d: e}\n", (1, 9), "`:` stands in a text without quotes", "quote it: 'c:'"),
        ("a: !b!c x\n", (1, 4), "`!` without quotes begins a tag", "quote it: '!b!c x'"),
        ("a: `x`\n", (1, 4), "a text cannot begin with ```", "quote it: '`x`'"),
        ("a: >x\n", (1, 4), "`>` begins a text of several lines", "quote it: '>x'"),
        ("key:value\n", (1, 1), "found the text `key:value`", "a space is due after `key:`"),
        ("a: 1\nkey:value\n", (2, 4), "a space is missing after `:`", "a space is due after `key:`"),
        ("a:\n  - key:value\n    b: 1\n", (2, 8), "a space is missing after `:`", "a space is due after `key:`"),
        ("a: 1\nword\n", (2, 1), "`word` is no `key: value`", "a key and `:` come first"),
        ('when: "a" in groups\n', (1, 11), "the text goes on after its closing quote", "quote it: '\"a\" in groups'"),
        ('- {when: "a" in groups}\n', (1, 14), "the text goes on after its closing quote", "put the whole value"),
        ("a: 'it's'\n", (1, 8), "the text goes on after its closing quote", "is doubled: `''`"),
        ('a: {b: "x" c: y}\n', (1, 12), "`,` is missing before `c`", "parted by `,`"),
        ('a: "x\nb: 1\n', (1, 4), "a quote that opens here is never closed", "close it"),
        ("a: [x\nb: 1\n", (2, 1), "`]` is missing before this", "`[` opens at line 1, column 4"),
        ("a: {b: [x}\n", (1, 10), "`]` is missing before this", "`[` opens at line 1, column 8"),
        ("a:\n\tb: 1\n", (2, 1), "a tab cannot indent", "indent with spaces"),
        ("- name: a\n when: b\n", (2, 2), "this is indented unlike what it belongs to", "begin at one column"),
    ],
)
def test_a_common_slip_is_named_in_plain_words_with_what_to_write(
    text: str, at: tuple[int, int], what: str, hint: str
) -> None:
    problem = refused(text.encode())[-1]

    assert (problem.place.line, problem.place.column) == at
    assert what in problem.what
    assert hint in problem.hint


def test_a_tag_is_told_apart_from_a_text_that_begins_like_one() -> None:
    [problem] = read(b"when: !user.staff\n", "p.yaml").problems

    assert (problem.label, problem.hint) == ("tag", "quote a text that begins with `!`; tags have no use here")
