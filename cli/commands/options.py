"""Options and habits that several commands share."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, TypeVar

import click

from local.faults import Faults
from shared.catalog import sources
from shared.settings import Settings

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
SHARE = click.FloatRange(0, 1)


class Day(click.ParamType[date]):
    """A date, YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse it, or end the command with what is allowed."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2025-09-04", param, ctx)


class Share(click.ParamType[float]):
    """A share of something: 0.05, or 5%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it, or end the command with what is allowed."""
        try:
            share = (
                float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else float(value)
            )
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share such as 0.05 or 5%, from 0 to 1", param, ctx)
        return share


def yesterday(zone: tzinfo = UTC) -> date:
    """Yesterday, in a time zone."""
    return datetime.now(zone).date() - timedelta(days=1)


def _all(*options: Callable[[AnyFunction], AnyFunction]) -> Callable[[AnyFunction], AnyFunction]:
    def decorate(function: AnyFunction) -> AnyFunction:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def generating(entries: int) -> Callable[[AnyFunction], AnyFunction]:
    """What the generator takes; `entries` is the default volume."""
    return _all(
        click.option("--entries", type=click.IntRange(1), default=entries, show_default=True),
        click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same run."),
        click.option("--until", type=Day(), default=yesterday, help="The last day.  [default: yesterday]"),
        click.option("--days", type=click.IntRange(1, 3650), default=14, show_default=True),
        click.option(
            "--malformed", type=SHARE, default=0.02, show_default=True, help="Share of bad entries."
        ),
        click.option(
            "--rate",
            type=click.FloatRange(0),
            default=0,
            help="Entries per second, at most.  [default: no bound]",
        ),
    )


def amending(edits: float, deletions: float) -> Callable[[AnyFunction], AnyFunction]:
    """What is done to entries after they were written; the arguments are the defaults."""
    share: dict[str, Any] = {"type": Share(), "show_default": True}
    return _all(
        click.option(
            "--edits", default=edits, help="Share of entries edited afterwards, such as 5%.", **share
        ),
        click.option(
            "--deletions", default=deletions, help="Share of entries deleted afterwards, such as 2%.", **share
        ),
    )


def faulty(defaults: Faults) -> Callable[[AnyFunction], AnyFunction]:
    """What the relay does wrong on purpose."""
    share: dict[str, Any] = {"type": SHARE, "show_default": True}
    return _all(
        click.option(
            "--duplicate", default=defaults.duplicate, help="Share of events delivered twice.", **share
        ),
        click.option("--drop", default=defaults.drop, help="Share of events lost.", **share),
        click.option("--delay", default=defaults.delay, help="Share of events put off.", **share),
        click.option(
            "--delay-seconds",
            type=click.FloatRange(0),
            default=defaults.delay_seconds,
            show_default=True,
            help="The longest that one is put off.",
        ),
        click.option(
            "--reorder",
            type=click.IntRange(0),
            default=defaults.reorder,
            show_default=True,
            help="Events held back and let go in random order.",
        ),
    )


real_project = click.option(
    "--real-project",
    metavar="NAME",
    help="Write to this real project. Without it, only an emulator is written to.",
)


source = click.option(
    "--source",
    type=click.Choice(list(sources(Settings()))),
    default="libra",
    show_default=True,
    help="The source whose totals are meant.",
)


class Ended(BaseException):
    """SIGTERM or SIGHUP came. Not an error: nothing but the outermost level is to catch it."""


@contextmanager
def ending() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind what is inside as Ctrl-C does, so that no process is left behind."""

    def end(*_: object) -> None:
        raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
