"""Usage parts, pure: their names, the join of two values of one, the seal of an hour, what a row says.

A part is *what one process has counted since it started*, of one metric of one merchant in one hour. Its
name is (merchant, date, metric, hour, incarnation). Its value only grows. So the join of two values is the
maximum: a message that comes twice, late, or after a newer one changes nothing. A total is the sum of its
parts.

::

    usage-parts:{MERCHANT}:DATE:HOUR     a hash of Redis: METRIC:INCARNATION -> value
    usage:{MERCHANT}:DATE:METRIC         a counter to read: the gains of its parts

The braces are Redis's hash tag: all keys of a merchant lie on one node of a cluster. DATE is a date in the
application's time zone. HOUR is the instant at which an hour of that zone begins, in UTC: a zone may be half
an hour off, and an hour may come twice in a year. In names, `%`, `:`, `{` and `}` are written as `%` and two
hex digits.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MOST = 2**53 - 1
"""The largest value: Lua counts with doubles, and tells every whole number up to here from its neighbours."""
MERCHANT_LENGTH, METRIC_LENGTH = 256, 100
"""The most characters of a merchant's id and of a metric's name."""
AHEAD = timedelta(hours=1)
"""How far an hour may begin after now: a clock may be wrong by that much."""
KEEP = timedelta(hours=3)
"""How long an application keeps an hour's counts after its end, to send them again if Redis loses them. A
flush deletes them from Redis an hour later than that, so that nobody takes a deletion for a loss."""

HOUR = timedelta(hours=1)
_LABEL = "%Y-%m-%dT%H:%MZ"
_KEY = re.compile(r"usage-parts:\{([^{}:]+)\}:(\d{4}-\d\d-\d\d):(\d{4}-\d\d-\d\dT\d\d:\d\dZ)", re.ASCII)
_ESCAPED = re.compile(r"[%:{}]")
_ESCAPE = re.compile(r"%(25|3A|7B|7D)")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,15}")
_INCARNATION = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


class Name(NamedTuple):
    """A part's name."""

    merchant: str
    date: date
    metric: str
    hour: datetime
    """The instant at which the hour begins (aware, UTC)."""
    incarnation: str
    """The process that counted it, since it started or was forked."""


class Part(NamedTuple):
    """A part, as one reading found it."""

    name: Name
    value: int


class Joined(NamedTuple):
    """What a join came to."""

    value: int
    gain: int


class Unreadable(NamedTuple):
    """A row of Redis that is no part, or none that may be counted."""

    key: str
    field: str
    raw: str
    """What stands there, cut to 200 characters."""
    reason: str


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a time zone."""

    begin: datetime
    """The instant at which it begins (aware, UTC)."""
    date: date
    """The date in the zone."""

    @property
    def end(self) -> datetime:
        """The instant at which it is over."""
        return self.begin + HOUR


def join(old: int, new: int) -> Joined:
    """The larger of two values of one part, and what the new one adds to the old one."""
    return Joined(max(old, new), max(new - old, 0))


def hour_of(instant: datetime, zone: ZoneInfo) -> Hour:
    """The hour of a zone that an instant (aware) lies in."""
    local = instant.astimezone(zone)
    into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return Hour(instant.astimezone(UTC) - into, local.date())


def sealed(hour: datetime, through: datetime | None) -> bool:
    """Whether a part of an hour may change no more, given the instant through which hours are sealed."""
    return through is not None and hour + HOUR <= through


def closed_through(now: datetime, after: timedelta) -> datetime:
    """The latest full hour of UTC through which hours may be sealed: they have been over for ``after``."""
    return (now - after).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def flaw(merchant: object, metric: object) -> str | None:
    """Why nothing can be counted under these names; None: it can."""
    return _flaw("merchant", merchant, MERCHANT_LENGTH) or _flaw("metric", metric, METRIC_LENGTH)


def _flaw(what: str, value: object, most: int) -> str | None:
    if not isinstance(value, str):
        return f"the {what} is {type(value).__name__}: a string of 1 to {most} characters is allowed"
    if not 1 <= len(value) <= most:
        return f"the {what} has {len(value)} characters: 1 to {most} are allowed"
    if "\0" in value or not _encodes(value):
        return f"the {what} {value[:50]!r} holds a NUL or a lone surrogate, which PostgreSQL cannot store"
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape(text: str) -> str:
    """A merchant or metric as it stands in a key."""
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def parts_key(merchant: str, hour: Hour) -> str:
    """The key of the hash that holds the parts of a merchant and an hour."""
    return f"usage-parts:{{{escape(merchant)}}}:{hour.date}:{hour.begin.strftime(_LABEL)}"


def counter_key(merchant: str, day: date, metric: str) -> str:
    """The key of the counter that applications may read."""
    return f"usage:{{{escape(merchant)}}}:{day}:{escape(metric)}"


def part_field(metric: str, incarnation: str) -> str:
    """The field of a part in its hash."""
    return f"{escape(metric)}:{incarnation}"


def parts_pattern(merchant: str | None = None, day: date | None = None) -> str:
    """What SCAN matches, for all parts or those of a merchant or a date; for all, also what only looks so."""
    if merchant is None and day is None:
        return "usage-parts:*"
    literal = re.sub(r"[*?\[\]\\^]", lambda found: f"\\{found[0]}", escape(merchant)) if merchant else "*"
    return f"usage-parts:{{{literal}}}:{day or '*'}:*"


class Place(NamedTuple):
    """Which merchant and hour a hash is of."""

    merchant: str
    date: date
    hour: datetime


def place(key: bytes) -> Place | Unreadable:
    """What a hash's key says."""
    text = key.decode("utf-8", "backslashreplace")
    found = _KEY.fullmatch(text)
    if not found or not _is_text(key):
        return Unreadable(text, "", "", "the key is not usage-parts:{MERCHANT}:DATE:HOUR")
    try:
        day = date.fromisoformat(found[2])
        hour = datetime.fromisoformat(found[3])
    except ValueError:
        return Unreadable(text, "", "", f"{found[2]}:{found[3]} is no date and hour")
    merchant = _unescape(found[1])
    if wrong := _flaw("merchant", merchant, MERCHANT_LENGTH):
        return Unreadable(text, "", "", wrong)
    if abs(datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - hour) > timedelta(hours=27):
        return Unreadable(text, "", "", f"the hour {found[3]} is not of the date {found[2]} in any time zone")
    return Place(merchant, day, hour)


def read(
    at: Place, field: bytes, raw: bytes, *, now: datetime, metrics: frozenset[str] | None = None
) -> Part | Unreadable:
    """What a field of a hash says.

    Args:
        at: what the hash's key says.
        field: the field.
        raw: its value.
        now: this instant: an hour that begins long after it is a mistake.
        metrics: the metrics that are declared; None: any.
    """
    metric, incarnation, flawed = _field(field)
    reason = flawed or _refused(at, metric, raw, now, metrics)
    if reason is not None:
        key = parts_key(at.merchant, Hour(at.hour, at.date))
        name, value = (it.decode("utf-8", "backslashreplace") for it in (field, raw))
        return Unreadable(key, name[:400], value[:200], reason)
    return Part(Name(at.merchant, at.date, metric, at.hour, incarnation), int(raw))


def _refused(at: Place, metric: str, raw: bytes, now: datetime, metrics: frozenset[str] | None) -> str | None:
    if metrics is not None and metric not in metrics:
        return f"the metric {metric[:100]!r} is not declared: {', '.join(sorted(metrics))} are"
    if not _NUMBER.fullmatch(raw):
        return f"the value is no whole number from 0 to {MOST}"
    if int(raw) > MOST:
        return f"the value is above {MOST}, beyond which Redis does not count exactly"
    if at.hour > now + AHEAD:
        return f"the hour begins after {now:%Y-%m-%dT%H:%MZ}, in the future: a clock is wrong"
    return None


@lru_cache(4_096)
def _field(field: bytes) -> tuple[str, str, str | None]:
    """Metric, incarnation, and why not. A process writes the same few fields for each merchant."""
    escaped, colon, incarnation = field.decode("utf-8", "backslashreplace").rpartition(":")
    if not colon or not _INCARNATION.fullmatch(incarnation) or ":" in escaped or not _is_text(field):
        return "", "", "the field is not METRIC:INCARNATION"
    metric = _unescape(escaped)
    return metric, incarnation, _flaw("metric", metric, METRIC_LENGTH)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
