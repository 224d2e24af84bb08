import json
from pathlib import Path

import pytest

from pointsman.cli.asked import Asked, as_request, from_curl, from_har
from pointsman.model.policy import Destination, Policy
from pointsman.model.problem import Invalid

POLICY = Policy("p", "", (), (Destination("a", ("a.example", "*.b.example"), ("198.51.100.0/24",)),), (), (), None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("curl http://a.example/x", Asked("GET", "http://a.example/x")),
        ("curl -X DELETE http://a/", Asked("DELETE", "http://a/")),
        ("curl -XDELETE http://a/", Asked("DELETE", "http://a/")),
        ("curl -sSXPUT http://a/", Asked("PUT", "http://a/")),
        ("curl -I http://a/", Asked("HEAD", "http://a/")),
        ("curl http://a/ -d x=1", Asked("POST", "http://a/")),
        ("curl -dx=1 http://a/", Asked("POST", "http://a/")),
        ("curl -G -d x=1 http://a/", Asked("GET", "http://a/")),
        ("curl --data-raw 'a b' --compressed --insecure http://a/", Asked("POST", "http://a/")),
        ("curl --data x=1 -X PATCH http://a/", Asked("PATCH", "http://a/")),
        ("curl -T file http://a/", Asked("PUT", "http://a/")),
        ("curl -sH 'X-A: b: c' http://a/", Asked("GET", "http://a/", (("x-a", "b: c"),))),
        ("curl -HX-A:b -H 'x-b:' http://a/", Asked("GET", "http://a/", (("x-a", "b"), ("x-b", "")))),
        ("curl -o out -D dump http://a/", Asked("GET", "http://a/")),
        ("curl --url http://a/", Asked("GET", "http://a/")),
        ("curl 'http://a/' \\\n  -H 'x-a: b' \\\n  --compressed", Asked("GET", "http://a/", (("x-a", "b"),))),
        ("curl --resolve a:80:192.0.2.7 http://a/", Asked("GET", "http://a/", (), "192.0.2.7")),
        ("curl --resolve 'a:80:[2001:db8::7]' http://a/", Asked("GET", "http://a/", (), "2001:db8::7")),
        ("http://a/", Asked("GET", "http://a/")),
    ],
)
def test_a_curl_line_says_what_curl_would_send(line: str, expected: Asked) -> None:
    assert from_curl(line, None) == expected


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("wget http://a/", "no-curl"),
        ("curl --frobnicate http://a/", "unknown-option"),
        ("curl -s%H x:y http://a/", "unknown-option"),
        ("curl http://a/ http://b/", "no-url"),
        ("curl -H nocolon http://a/", "no-header"),
    ],
)
def test_what_cannot_be_read_of_a_curl_line_is_never_left_out(line: str, label: str) -> None:
    with pytest.raises(Invalid) as invalid:
        from_curl(line, None)
    assert [problem.label for problem in invalid.value.problems] == [label]


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        (Asked("GET", "http://a/", (), "foo"), "no-address"),
        (Asked("GE T", "http://a/"), "no-method"),
        (Asked("GET", "ftp://a/"), "no-url"),
        (Asked("GET", "tcp://a"), "no-port"),
        (Asked("GET", "http://a:0/"), "no-port"),
    ],
)
def test_a_request_that_nobody_could_send_is_a_problem(asked: Asked, label: str) -> None:
    with pytest.raises(Invalid) as invalid:
        as_request(asked, POLICY)
    assert [problem.label for problem in invalid.value.problems] == [label]


@pytest.mark.parametrize("line", ["", "curl", "curl -X", "curl -H", "curl 'http://a", "curl -o http://a/"])
def test_a_line_without_a_url_is_a_problem(line: str) -> None:
    with pytest.raises(Invalid):
        from_curl(line, None)


def har(tmp_path: Path, content: object) -> Path:
    (tmp_path / "a.har").write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / "a.har"


def entry(url: str) -> dict[str, object]:
    headers = [{"name": ":authority", "value": "x"}, {"name": "X-A", "value": "b"}]
    return {"request": {"method": "GET", "url": url, "headers": headers}, "serverIPAddress": "192.0.2.7"}


def test_an_entry_of_a_har_file_is_a_request(tmp_path: Path) -> None:
    file = har(tmp_path, {"log": {"entries": [entry("http://a/"), entry("http://b/")]}})

    assert from_har(file, 2, 7) == Asked("GET", "http://b/", (("x-a", "b"),), "192.0.2.7", 7)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", {"log": {}}, {"log": {"entries": []}}, {"log": {"entries": [7]}}]
)
def test_what_is_no_har_file_is_a_problem(tmp_path: Path, content: object) -> None:
    with pytest.raises(Invalid, match="is no HAR file"):
        from_har(har(tmp_path, content), 1, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/x?y=1", ("http", "a.example", "/x?y=1", "198.51.100.0", 80)),
        ("a.example", ("http", "a.example", "/", "198.51.100.0", 80)),
        ("http://a.example:8080", ("http", "a.example:8080", "/", "198.51.100.0", 8080)),
        ("http://x.y.b.example/", ("http", "x.y.b.example", "/", "198.51.100.0", 80)),
        ("http://192.0.2.7/", ("http", "192.0.2.7", "/", "192.0.2.7", 80)),
        ("http://[2001:db8::7]:81/", ("http", "[2001:db8::7]:81", "/", "2001:db8::7", 81)),
        ("https://a.example/x", ("tcp", "", "", "198.51.100.0", 443)),
        ("tcp://192.0.2.7:22", ("tcp", "", "", "192.0.2.7", 22)),
        ("http://user:word@a.example/", ("http", "a.example", "/", "198.51.100.0", 80)),
    ],
)
def test_a_url_says_what_the_interception_would_see(url: str, expected: tuple[str, str, str, str, int]) -> None:
    request, _ = as_request(Asked("GET", url), POLICY)

    assert (request.protocol, request.host, request.path, request.address, request.port) == expected


def test_a_host_header_comes_before_the_url() -> None:
    request, _ = as_request(Asked("GET", "http://192.0.2.7/", (("host", "a.example"), ("x-a", "b"))), POLICY)

    assert (request.host, request.address, request.headers) == ("a.example", "192.0.2.7", (("x-a", "b"),))


def test_what_was_assumed_is_said() -> None:
    assert "is taken to be 198.51.100.0" in as_request(Asked("GET", "http://a.example/"), POLICY)[1][0]
    assert "give it with --address" in as_request(Asked("GET", "http://c.example/"), POLICY)[1][0]
    assert "HTTPS cannot be seen" in as_request(Asked("GET", "https://192.0.2.7/"), POLICY)[1][0]


@pytest.mark.parametrize("url", ["", "http://", "http://:80/", "http://a:x/", "http://a:99999/", "http://[::1/"])
def test_what_is_no_url_is_a_problem(url: str) -> None:
    with pytest.raises(Invalid):
        as_request(Asked("GET", url), POLICY)
