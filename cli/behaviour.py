"""Behaviour of users of a shop, as events for `user_events` and `signals`. Pure and seeded.

Users come in sessions: they look at pages, put some products into the basket, and buy now and then. A
classifier flags some of what they read. Some events are sent twice, as a browser does that got no answer, and
some hold what no schema allows.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any

Event = dict[str, Any]

PAGES = ("/", "/search", "/sale", "/help", "/cart")
PRODUCTS = {"kettle-chips": 3.2, "mac-cheese": 6.5, "jalapeños": 2.1, "crème-brûlée": 5.9, "50/50-bun": 1.4}
DAY_SECONDS = 86_400
SIGNAL_TYPES = {"misinformation": ("health", "finance"), "ad": ("shopping",), "satire": ("politics", "sport")}
PLATFORMS = ("web", "video", "feed")


@dataclass(frozen=True)
class Crowd:
    """What to send. The same crowd gives the same events.

    Attributes:
        source: `user_events` or `signals`.
        events: how many different ones, those that are invalid among them.
        until: when the last of them happened (aware); they are spread over the day before.
        seed: another one gives other events, under other ids.
        duplicates: the share that is sent twice, 0 to 1.
        invalid: the share that no schema allows, 0 to 1.
    """

    source: str
    events: int
    until: datetime
    seed: int = 1
    duplicates: float = 0.0
    invalid: float = 0.0


def behave(crowd: Crowd) -> Iterator[Event]:
    """The crowd's events in the order in which they are sent; one that is sent twice comes again soon."""
    rng = random.Random(f"{crowd.source}/{crowd.seed}/{crowd.until.isoformat()}")
    again: list[tuple[int, Event]] = []
    for number, event in enumerate(islice(_KINDS[crowd.source](crowd, rng), crowd.events)):
        while again and again[0][0] <= number:
            yield again.pop(0)[1]
        sent = rng.choice(MISTAKES)(event) if rng.random() < crowd.invalid else event
        yield sent
        if rng.random() < crowd.duplicates:
            again.append((number + rng.randint(1, 50), sent))
            again.sort(key=lambda it: it[0])
    yield from (event for _, event in again)


def _user_events(crowd: Crowd, rng: random.Random) -> Iterator[Event]:
    mark = f"{rng.getrandbits(40):010x}"
    users = max(3, crowd.events // 25)
    numbers = count(1)
    while True:
        session = {"user_id": f"user-{rng.randrange(users)}", "session_id": f"s-{rng.getrandbits(32):08x}"}
        begun = crowd.until - timedelta(seconds=rng.uniform(0, DAY_SECONDS))
        for step in range(rng.randint(1, 12)):
            happened = min(crowd.until, begun + timedelta(seconds=20 * step))
            fields = {"event_id": f"{mark}-{next(numbers)}", **session, **_step(step, rng)}
            yield fields | {"timestamp": happened.isoformat(timespec="milliseconds")}


def _step(step: int, rng: random.Random) -> Event:
    product, price = rng.choice(list(PRODUCTS.items()))
    kind = rng.choices(("page_view", "view_item", "add_to_cart", "purchase"), (5, 4, 2, 1))[0]
    if step == 0 or kind == "page_view":
        return {"event_type": "page_view", "page": rng.choice(PAGES)}
    fields: Event = {"event_type": kind, "page": f"/p/{product}", "product_id": product}
    return fields | ({"value": round(price * rng.randint(1, 4), 2)} if kind == "purchase" else {})


def _signals(crowd: Crowd, rng: random.Random) -> Iterator[Event]:
    users = max(3, crowd.events // 10)
    while True:
        kind = rng.choice(list(SIGNAL_TYPES))
        happened = crowd.until - timedelta(seconds=rng.uniform(0, DAY_SECONDS))
        yield {
            "user_id": f"user-{rng.randrange(users)}",
            "timestamp": happened.isoformat(timespec="microseconds"),
            "signal_type": kind,
            "flag_type": rng.choice(("low", "medium", "high")),
            "confidence": round(rng.random(), 3),
            "topic_category": rng.choice(SIGNAL_TYPES[kind]),
            "source_platform": rng.choice(PLATFORMS),
            "event_details": {"model": "classifier-2", "words": rng.randint(5, 400)},
        }


_KINDS: Mapping[str, Callable[[Crowd, random.Random], Iterator[Event]]] = {
    "user_events": _user_events,
    "signals": _signals,
}
SOURCES = tuple(_KINDS)
"""The sources that there are events for."""


def _without(name: str) -> Callable[[Event], Event]:
    return lambda event: {field: value for field, value in event.items() if field != name}


def _with(name: str, value: object) -> Callable[[Event], Event]:
    return lambda event: {**event, name: value}


MISTAKES: tuple[Callable[[Event], Event], ...] = (
    _without("timestamp"),
    _without("user_id"),
    _with("timestamp", "yesterday"),
    _with("timestamp", "1970-01-01T00:00:00Z"),
    _with("user_id", 42),
    _with("colour", "red"),
)
