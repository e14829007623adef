"""The metrics of usage match lines that the real flush logs."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from deploy.steps.usage import JOB
from services.usage import __main__ as program
from services.usage import flush
from services.usage.counters import Raise
from shared import log
from shared.errors import Denied
from shared.parts import Hour
from tests.deploy import test_metrics
from tests.support.log_filter import counting
from tests.support.usage import MemoryBooks, MemoryCounters

Happening = Callable[[pytest.MonkeyPatch], None]
HOURS = [datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in range(24)]


def used(counters: MemoryCounters, incarnation: str = "one") -> None:
    """A merchant has used something between midnight and one."""
    counters.raise_to([Raise("m", Hour(HOURS[0], HOURS[0].date()), (("calls", incarnation, 7),))])


def run_flush(counters: MemoryCounters, books: MemoryBooks, at: datetime) -> None:
    """The deployed flush, over models of both servers."""
    flush.Flush(counters, books, close_after=timedelta(hours=1)).run(now=at)


def booked(_: pytest.MonkeyPatch) -> None:
    """A flush finds a count."""
    counters = MemoryCounters()
    used(counters)
    run_flush(counters, MemoryBooks(), HOURS[1])


def nothing_used(_: pytest.MonkeyPatch) -> None:
    """A flush finds nothing."""
    run_flush(MemoryCounters(), MemoryBooks(), HOURS[1])


def set_aside(_: pytest.MonkeyPatch) -> None:
    """Something else has written a key of usage's."""
    counters = MemoryCounters()
    used(counters)
    counters.hashes["usage-parts:{m}:yesterday"] = {"calls": "7"}
    run_flush(counters, MemoryBooks(), HOURS[1])


def came_late(_: pytest.MonkeyPatch) -> None:
    """A process sends its count after the hour was sealed."""
    counters, books = MemoryCounters(), MemoryBooks()
    run_flush(counters, books, HOURS[3])
    used(counters)
    run_flush(counters, books, HOURS[4])


def took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush takes over 5 minutes."""
    assert flush.SLOW_SECONDS == 300
    monkeypatch.setattr(flush, "SLOW_SECONDS", -1)
    nothing_used(monkeypatch)


def job_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL does not answer the job, which has not begun a run."""

    def unreachable(_: object) -> None:
        raise Denied("no connection")

    monkeypatch.setenv("LIBRA_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("LIBRA_POSTGRES_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setattr(program, "opened", unreachable)
    monkeypatch.setattr(log, "configure", lambda _: None)  # the test reads what is logged
    assert program.main([]) == 1


MATCHED: dict[Happening, set[str]] = {
    booked: {"libra-usage-completed", "libra-usage-booked"},
    nothing_used: {"libra-usage-completed"},
    set_aside: {"libra-usage-completed", "libra-usage-booked", "libra-usage-aside"},
    came_late: {"libra-usage-completed", "libra-usage-booked", "libra-usage-aside"},
    took_long: {"libra-usage-completed", "libra-usage-slow"},
    job_failed: {"libra-usage-failed"},
}
"""What happens, and the metrics that count its lines."""


@pytest.mark.parametrize("happening", MATCHED, ids=lambda it: it.__name__)
def test_a_metric_counts_the_lines_of_the_flush_that_it_is_for_and_no_others(
    happening: Happening, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real code logs what happens, and exactly these metrics count it."""
    happening(monkeypatch)
    found = counting(test_metrics.METRICS, output.getvalue(), JOB, kind="job")
    assert found == MATCHED[happening], output.getvalue()
