"""What is asked for: kinds of rows and a range of days, and the parts that this is. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from services.ingestion.errors import IngestError

EVENTS = (
    "purchase",
    "add_to_cart",
    "page_view",
    "view_item",
    "view_search_results",
    "no_search_results",
)
"""The types of events of GA4. A part is one day of one type."""
FILES = ("users", "locations")
"""What SFTP files hold. A part is one file."""
KINDS = EVENTS + FILES
LONGEST = 400
"""Days of one request."""
FINAL_HOURS = 72
"""GA4 changes a day's table for this long after the day
(https://support.google.com/analytics/answer/9358801, 2026-11)."""
AGAIN = 5
"""How many days each night loads again: today, and the four before it. The last of them is final, so each
day is loaded once after GA4 has stopped changing it."""


class RequestError(IngestError):
    """It cannot be asked for like this; the message names the field, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is loaded as a whole or not at all.

    Attributes:
        kind: one of `KINDS`.
        day: whose events; None for a file, whose day is in its name.
    """

    kind: str
    day: date | None

    def __str__(self) -> str:
        """For messages."""
        return f"{self.kind} of {self.day}" if self.day else self.kind


@dataclass(frozen=True, slots=True)
class Request:
    """A job's parts, in short. Made by `asked`.

    Attributes:
        said: the first and last day as whoever asks has said them; None: as they are here.
    """

    kinds: tuple[str, ...]
    first: date | None
    last: date | None
    said: tuple[date | None, date | None] | None = field(default=None, compare=False)

    @property
    def wish(self) -> Mapping[str, object]:
        """What two requests have in common that are the same, whenever they are sent. As JSON has it."""
        first, last = (day and day.isoformat() for day in self.said or (self.first, self.last))
        return {"kinds": list(self.kinds), "first": first, "last": last}

    @property
    def parts(self) -> Iterator[Part]:
        """Files first: they are few. Then day by day, so that an early end leaves whole days."""
        yield from (Part(kind, None) for kind in self.kinds if kind in FILES)
        if self.first and self.last:
            for number in range((self.last - self.first).days + 1):
                day = self.first + timedelta(days=number)
                yield from (Part(kind, day) for kind in self.kinds if kind in EVENTS)


def asked(kinds: Sequence[str], first: date | None, last: date | None, today: date) -> Request:
    """A request that can be met.

    Args:
        kinds: of `KINDS`; the order and what is there twice do not matter.
        first: the first day; None: the day `AGAIN` - 1 days before the last.
        last: the last day; None: today.
        today: in the tenant's time zone.

    Raises:
        RequestError: it cannot be asked for like this.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise RequestError(f"kinds: found {', '.join(unknown)!r}, allowed are {', '.join(KINDS)}")
    if not kinds:
        raise RequestError(f"kinds: found none, allowed are one or more of {', '.join(KINDS)}")
    ordered = tuple(each for each in KINDS if each in kinds)
    if not set(ordered) & set(EVENTS):
        if first or last:
            raise RequestError(
                f"first and last: {', '.join(ordered)} come as files and take no range of days"
            )
        return Request(ordered, None, None)
    said = first, last
    last = last or today
    first = first or date.fromordinal(max(1, last.toordinal() - AGAIN + 1))
    if first > last:
        raise RequestError(f"first: found {first}, which is after last, {last}")
    if last > today:
        raise RequestError(f"last: found {last}, which is after today, {today}")
    if (last - first).days >= LONGEST:
        raise RequestError(f"first: {first} to {last} are more than {LONGEST} days: ask for fewer at a time")
    return Request(ordered, first, last, said)


def is_final(day: date, today: date) -> bool:
    """Whether GA4 changes that day's table no more, in whatever zone the property is."""
    return today - day > timedelta(hours=FINAL_HOURS)
