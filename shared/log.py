"""Structured logs: one JSON line a record, with the field names that Cloud Logging reads.

`severity`, `message` and `logging.googleapis.com/trace` are the platform's names
(https://cloud.google.com/logging/docs/structured-logging, 2026-11). Anything passed as ``extra`` stands
beside them under its own name. An entry's content is never logged: its path and its reasons are enough
to find it.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

logger = logging.getLogger("libra")

_TRACE_FIELD = "logging.googleapis.com/trace"
_trace: ContextVar[str | None] = ContextVar("trace", default=None)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, object] = {"severity": record.levelname, "message": record.getMessage()}
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if trace := _trace.get():
            line[_TRACE_FIELD] = trace
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send Libra's records of ``level`` and above to ``stream`` (standard output), and only there."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


@contextmanager
def traced(project: str | None, traceparent: object) -> Iterator[None]:
    """Tie the records of this context to a request's trace, given its W3C ``traceparent``, if it has one."""
    found = re.match(r"[0-9a-f]{2}-([0-9a-f]{32})-", str(traceparent or ""))
    token = _trace.set(f"projects/{project}/traces/{found[1]}" if found and project else None)
    try:
        yield
    finally:
        _trace.reset(token)
