"""What a message says: the event in it, and when Libra accepted it. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn

from shared.topics import ACCEPTED


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

    What is no such time is passed over: whoever publishes may write it.
    """
    try:
        found = datetime.fromisoformat(attributes.get(ACCEPTED, ""))
        return min(found.astimezone(UTC), published) if found.tzinfo else published
    except (ValueError, OverflowError):
        return published


def plain(time: datetime) -> datetime:
    """A time of Pub/Sub's, which is of a class of its own, as Python's own."""
    return datetime.fromtimestamp(time.timestamp(), UTC)
