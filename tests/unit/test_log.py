"""A record is one line of JSON with Cloud Logging's names."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from shared.log import configure, logger, traced

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What Libra logs at INFO and above, until the test is over."""
    stream = io.StringIO()
    configure("INFO", stream)
    yield stream
    logger.handlers[:] = []
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_with_its_fields(output: io.StringIO) -> None:
    """Severity and message under the platform's names; extras beside them; a newline stays inside."""
    logger.warning("An entry\ncould not %s", "count", extra={"entry": "libra/x"})
    assert lines(output) == [
        {"severity": "WARNING", "message": "An entry\ncould not count", "entry": "libra/x"}
    ]


def test_what_is_below_the_level_is_not_logged(output: io.StringIO) -> None:
    """`LIBRA_LOG_LEVEL` bounds what is paid for."""
    logger.debug("figures")
    assert output.getvalue() == ""


def test_records_carry_their_requests_trace(output: io.StringIO) -> None:
    """Within a request with a W3C traceparent; not after it, and not for a malformed one."""
    with traced("demo-libra", TRACEPARENT):
        logger.info("inside")
    with traced("demo-libra", "nonsense"):
        logger.info("malformed")
    with traced(None, TRACEPARENT):
        logger.info("no project")
    trace = {"logging.googleapis.com/trace": "projects/demo-libra/traces/4bf92f3577b34da6a3ce929d0e0e4736"}
    assert [line.items() >= trace.items() for line in lines(output)] == [True, False, False]


def test_an_exception_stays_on_its_line(output: io.StringIO) -> None:
    """A traceback of many lines is one record."""
    try:
        int("broken")
    except ValueError:
        logger.exception("It broke")
    (line,) = lines(output)
    assert line["severity"] == "ERROR"
    assert "ValueError: invalid literal" in line["exception"]
