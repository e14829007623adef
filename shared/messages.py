"""What a message says: the event in it, and when Libra accepted it. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from shared.topics import ACCEPTED

LONGEST_AGO = timedelta(days=8 * 365)
"""How long before a message was published its event may have been accepted. BigQuery takes ten years
(`shared.warehouse.tables.STREAMED`); the rest is for the event's own time, which lies before that."""


class UnreadableError(Exception):
    """A message that holds no event and never will. It says what is wrong, and nothing of the content."""


def decode(data: bytes) -> object:
    """The JSON value that a message holds; the schema says whether it is an event.

    Raises:
        UnreadableError: it holds none.
    """
    try:
        return _read(data.decode())
    except UnicodeDecodeError:
        raise UnreadableError("bytes that are not UTF-8") from None
    except RecursionError:
        raise UnreadableError("JSON that is nested too deeply") from None
    except ValueError:
        raise UnreadableError("text that is not JSON") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


_read = json.JSONDecoder(parse_constant=_no_number).decode
"""Made once: `json.loads` makes a decoder for each call that is not plain."""


def accepted(attributes: Mapping[str, str], published: datetime) -> datetime:
    """When Libra accepted an event, in UTC: when it was published first, however often it was replayed.

    What is no such time is passed over, and so is one longer ago than `LONGEST_AGO`: whoever publishes may
    write it. The event is then judged as of its message.
    """
    try:
        found = datetime.fromisoformat(attributes.get(ACCEPTED, ""))
        at = min(found.astimezone(UTC), published) if found.tzinfo else published
    except (ValueError, OverflowError):
        return published
    return at if published - at <= LONGEST_AGO else published


def plain(time: datetime) -> datetime:
    """A time of Pub/Sub's, which is of a class of its own, as Python's own."""
    return datetime.fromtimestamp(time.timestamp(), UTC)
