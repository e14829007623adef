"""What the collector takes for events: JSON, NDJSON, gzip, all within bounds."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.collector.body import MAX_BYTES, MAX_EVENTS, Unreadable, read
from shared.http.problems import Problem

JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("body", "kind", "events"),
    [
        (b'{"a": 1}', JSON, [{"a": 1}]),
        (b' [{"a": 1}, 2] ', "Application/JSON; charset=utf-8", [{"a": 1}, 2]),
        (b"7", JSON, [7]),
        (b'{"a": 1}\n{"a": 2}\n', NDJSON, [{"a": 1}, {"a": 2}]),
        (b'\n{"a": 1}\r\n\n \n[1]', "application/jsonl", [{"a": 1}, [1]]),
        ('{"a": "\u2028\x85"}'.encode(), NDJSON, [{"a": "\u2028\x85"}]),
        (b'{"a": "\\ud800"}', JSON, [{"a": "\ud800"}]),
    ],
)
def test_a_body_is_its_events(body: bytes, kind: str, events: list[object]) -> None:
    """One, an array, or one a line; only a line feed ends a line."""
    assert read(body, kind, "") == events
    assert read(gzip.compress(body, mtime=0), kind, "GZIP") == events


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "status", "detail"),
    [
        (b"{}", "", "", 415, "expected application/json"),
        (b"{}", "text/plain", "", 415, "'text/plain'"),
        (b"{}", JSON, "br", 415, "'br': expected gzip"),
        (b"{}", JSON, "gzip, gzip", 415, "expected gzip"),
        (b"{}", JSON, "gzip", 400, "no gzip data"),
        (b"", JSON, "gzip", 400, "ends before"),
        (gzip.compress(b"{}", mtime=0)[:-1], JSON, "gzip", 400, "ends before"),
        (gzip.compress(b"{}", mtime=0) + b"x", JSON, "gzip", 400, "goes on behind"),
        (gzip.compress(b"{}", mtime=0)[:-8] + b"12345678", JSON, "gzip", 400, "no gzip data"),
        (zlib.compress(b"{}"), JSON, "gzip", 400, "no gzip data"),
        (b"\xff", JSON, "", 400, "not UTF-8"),
        ("{}".encode("utf-16"), JSON, "", 400, "not UTF-8"),
        (b"", JSON, "", 400, "no JSON"),
        (b'{"a": secret}', JSON, "", 400, "no JSON"),
        (b"\xef\xbb\xbf{}", JSON, "", 400, "no JSON"),
        (b"[" * 100_000, JSON, "", 400, "nested too deeply"),
        (b'{"a":' * 100_000, JSON, "", 400, "nested too deeply"),
        (b"1" * 5_000, JSON, "", 400, "thousands of digits"),
        (b"[]", JSON, "", 422, "no event"),
        (b"", NDJSON, "", 422, "no event"),
        (b"\n\r\n \n", NDJSON, "", 422, "no event"),
        (b"[" + b"{}," * 1_000 + b"{}]", JSON, "", 413, "more than 1000 events"),
        (b"{}\n" * 1_001, NDJSON, "", 413, "more than 1000 events"),
        (
            gzip.compress(b" " * (MAX_BYTES + 1), mtime=0),
            JSON,
            "gzip",
            413,
            "1048576 bytes when it is unpacked",
        ),
    ],
)
def test_what_is_no_body_of_events_is_refused(
    body: bytes, kind: str, encoding: str, status: int, detail: str
) -> None:
    """With what was found and what is allowed, and nothing of what it says."""
    with pytest.raises(Problem) as raised:
        read(body, kind, encoding)
    assert (raised.value.status_code, detail in raised.value.detail) == (status, True), raised.value.detail
    assert "secret" not in raised.value.detail


def test_the_bounds_themselves_are_taken() -> None:
    """1,000 events, and 1 MiB exactly."""
    assert len(read(b"{}\n" * MAX_EVENTS, NDJSON, "")) == MAX_EVENTS
    whole = b'{"a": "' + b"x" * (MAX_BYTES - 9) + b'"}'
    assert len(whole) == MAX_BYTES
    assert read(gzip.compress(whole, mtime=0), JSON, "gzip") == [json.loads(whole)]


def test_a_line_that_is_no_json_takes_no_other_with_it() -> None:
    """Its neighbours are events; the reason names the place and holds nothing of the line."""
    one, wrong, deep, last = read(b'{"a": 1}\nsecret\n' + b"[" * 100_000 + b'\n{"a": 2}', NDJSON, "")
    assert (one, last) == ({"a": 1}, {"a": 2})
    assert isinstance(wrong, Unreadable)
    assert "character 0" in wrong.why
    assert "secret" not in wrong.why
    assert deep == Unreadable("it is nested too deeply")


def test_a_bomb_is_cut_off_and_not_unpacked() -> None:
    """Two hundred megabytes of zeros in two hundred kilobytes: the memory that they cost is bounded."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"\0" * 1_048_576
    bomb = b"".join(packer.compress(zeros) for _ in range(200)) + packer.flush()
    assert len(bomb) < MAX_BYTES
    tracemalloc.start()
    with pytest.raises(Problem) as raised:
        read(bomb, JSON, "gzip")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raised.value.status_code == 413
    assert most < 4 * MAX_BYTES


@given(st.binary(max_size=200), st.sampled_from([JSON, NDJSON]), st.sampled_from(["", "gzip"]))
def test_no_bytes_make_it_fail(body: bytes, kind: str, encoding: str) -> None:
    """Events, or a problem of the caller's."""
    packed = gzip.compress(body, mtime=0) if encoding else body
    for each in (body, packed):
        try:
            assert read(each, kind, encoding)
        except Problem as problem:
            found = problem.status_code
        else:
            found = 200
        assert found in (200, 400, 413, 422)


def numbers() -> st.SearchStrategy[str]:
    """Numbers as JSON spells them, and nearly so."""
    digits = st.text("0123456789", min_size=1, max_size=30)
    fraction, power = digits.map(".{}".format), st.integers(-400, 400).map("e{}".format)
    parts = (st.sampled_from(["", "-", "+"]), digits, st.just("") | fraction, st.just("") | power)
    return st.tuples(*parts).map("".join)


def spelled() -> st.SearchStrategy[str]:
    """Values as JSON spells them, and nearly so."""
    texts = st.text(st.sampled_from('ab"\\/u0189dD{}[],:\t\n\x00é🍝')).map('"{}"'.format) | st.text().map(
        json.dumps
    )
    plain = numbers() | texts | st.sampled_from(["null", "true", "NaN", "-Infinity", "nul", "", " "])
    return st.recursive(
        plain,
        lambda values: (
            st.lists(values, max_size=4).map(lambda some: f"[{','.join(some)}]")
            | st.lists(st.tuples(texts, values), max_size=4).map(
                lambda some: f"{{{','.join(f'{name}: {value}' for name, value in some)}}}"
            )
        ),
        max_leaves=8,
    )


@given(spelled())
@example('[{"a": 1, "a": 2}]')
@example("[1e999, -0, -0.0, 1.0, 1]")
@example('"\\ud83c\\udf5d\\ud83c"')
@example("[" * 300 + "]" * 300)
def test_both_parsers_read_a_body_alike(text: str) -> None:
    """What the quick one reads, Python's own reads as the same; the worker reads the message with that."""
    try:
        found = json.loads(text)
    except ValueError:
        with pytest.raises(Problem):
            read(text.encode(), JSON, "")
    else:
        events = found if isinstance(found, list) else [found]
        assert not events or repr(read(text.encode(), JSON, "")) == repr(events)
