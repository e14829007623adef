"""Two weeks of a believable restaurant chain, as entries for `libra`. Pure and seeded.

Scales stand in kitchens. People eat at meal times and more at weekends; a scale sees each serving, runs
out, is refilled, reports for duty in the morning and sends heartbeats. Some scales upload days late, one
lost its clock, and some send what no specification allows.
"""

import math
import random
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

LOCATIONS = {  # how busy each is
    "Caldo Office": 0.6,
    "Harbor Street": 1.0,
    "Union Station": 1.7,
    "Elm & 5th": 1.1,
    "Café Zürich": 0.8,
}
INGREDIENTS = {  # grams in a serving
    "Kettle Chips": 28,
    "Mac/Cheese": 180,
    "100% Beef": 120,
    "Jalapeños": 15,
    "Crème brûlée": 95,
    "🌶️ Salsa": 40,
    "50/50 Bun": 62,
    "Rice": 150,
    "Kimchi 김치": 70,
    "__house__": 33,
    ".": 20,
    "Caesar Salad": 140,
}
MEALS = ((0.22, 8.0, 0.8), (0.42, 12.6, 0.9), (0.36, 19.0, 1.1))  # share, hour, spread in hours
WEEKEND = 1.4
HEARTBEAT_HOURS = (6, 10, 14, 18, 22)
SERVINGS_IN_A_TRAY = 24
LATE_DEVICES = (2, 5)
CLOCKLESS_DEVICE = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ID_LETTERS = string.ascii_letters + string.digits

Fields = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """What to generate. The same plan gives the same entries.

    Attributes:
        entries: how many, exactly.
        until: the last day, in the chain's zone.
        zone: where the chain is: meal times are in this zone.
        days: how many days, the last one included.
        seed: another one gives other entries, under other ids.
        malformed: the share of entries that hold something no specification allows, 0 to 1.
        edits: the share of entries that somebody corrects afterwards, 0 to 1.
        deletions: the share that somebody deletes afterwards, 0 to 1.
    """

    entries: int
    until: date
    zone: ZoneInfo
    days: int = 14
    seed: int = 1
    malformed: float = 0.02
    edits: float = 0.0
    deletions: float = 0.0


@dataclass(frozen=True)
class Written:
    """One entry as a scale writes it.

    Attributes:
        id: the document's id.
        fields: the document.
    """

    id: str
    fields: Mapping[str, object]


@dataclass(frozen=True)
class Amendment:
    """What somebody does to an entry after it was written.

    Attributes:
        id: the document's id.
        fields: what is changed; None: the entry is deleted.
    """

    id: str
    fields: Mapping[str, object] | None


@dataclass(frozen=True)
class Event:
    """Something that happened at a scale.

    Attributes:
        arrives: when the entry reaches Firestore (aware); entries are written in this order.
        fields: the entry.
    """

    arrives: datetime
    fields: Fields


@dataclass(frozen=True)
class Device:
    """A scale: where it stands and what is on it."""

    number: int
    location: str
    ingredient: str

    @property
    def grams(self) -> int:
        """The usual serving."""
        return INGREDIENTS[self.ingredient]

    @property
    def tray(self) -> float:
        """Grams in a full tray."""
        return float(SERVINGS_IN_A_TRAY * self.grams)


def generate(plan: Plan) -> list[Written]:
    """The plan's entries, in the order in which they reach Firestore."""
    rng = random.Random(plan.seed)
    devices = _devices(plan)
    servings = max(4.0, 1.2 * plan.entries / (len(devices) * plan.days))
    events = _events(plan, devices, servings, rng)
    while len(events) < plan.entries:
        servings *= 1.5
        events = _events(plan, devices, servings, rng)
    kept = sorted(rng.sample(events, plan.entries), key=lambda event: event.arrives)
    return [_written(event, plan, rng) for event in kept]


def amend(plan: Plan, written: Sequence[Written]) -> list[Amendment]:
    """What is done to a plan's entries afterwards: another ingredient on the scale, or the entry deleted.

    No entry is amended twice. The same plan amends the same entries in the same way.
    """
    rng = random.Random(f"{plan.seed}/amendments")
    shuffled = rng.sample(written, len(written))
    edits, deletions = round(plan.edits * len(written)), round(plan.deletions * len(written))
    corrected = [Amendment(entry.id, {"ingredient": _other(entry, rng)}) for entry in shuffled[:edits]]
    deleted = [Amendment(entry.id, None) for entry in shuffled[edits : edits + deletions]]
    return rng.sample(corrected + deleted, len(corrected) + len(deleted))


def _other(entry: Written, rng: random.Random) -> str:
    """Another ingredient than the entry's: an edit that changes nothing would be no edit."""
    return rng.choice([each for each in INGREDIENTS if each != entry.fields.get("ingredient")])


def amended(written: Sequence[Written], amendments: Iterable[Amendment]) -> list[Written]:
    """The entries that are left after amendments, as they are then."""
    by_id = {each.id: each.fields for each in amendments}
    kept = [entry for entry in written if by_id.get(entry.id, entry.fields) is not None]
    return [replace(entry, fields={**entry.fields, **(by_id.get(entry.id) or {})}) for entry in kept]


def _devices(plan: Plan) -> list[Device]:
    """More entries come from more scales; there are always enough for the late and the clockless ones."""
    wanted = min(len(LOCATIONS) * len(INGREDIENTS), max(20, plan.entries // (plan.days * 20)))
    places, foods = list(LOCATIONS), list(INGREDIENTS)
    return [Device(n, places[n % len(places)], foods[n % len(foods)]) for n in range(wanted)]


def _events(plan: Plan, devices: list[Device], servings: float, rng: random.Random) -> list[Event]:
    first = plan.until - timedelta(days=plan.days - 1)
    days = [datetime.combine(first + timedelta(days=n), time(), plan.zone) for n in range(plan.days)]
    return [event for device in devices for day in days for event in _day(device, day, servings, rng)]


def _day(device: Device, midnight: datetime, servings: float, rng: random.Random) -> Iterator[Event]:
    busy = LOCATIONS[device.location] * (WEEKEND if midnight.weekday() >= 5 else 1.0)
    number = max(0, round(rng.gauss(servings * busy, math.sqrt(servings))))
    left = device.tray
    moments = [(_meal(rng), "Served") for _ in range(number)]
    moments += [(hour + rng.random() / 20, "Heartbeat") for hour in HEARTBEAT_HOURS]
    moments += [(5.5 + rng.random() / 2, "Starting")]
    moments += [(23 + rng.random() / 2, "Offline")] if rng.random() < 0.1 else []
    for hour, action in sorted(moments):
        if action != "Served":
            yield _event(device, midnight, hour, action, left)
            continue
        amount = min(left, max(1.0, rng.gauss(device.grams, device.grams / 5)))
        left -= amount
        yield _event(device, midnight, hour, "Served", amount)
        if left < device.grams:
            yield _event(device, midnight, hour + 0.02, "RanOut", left)
            left = device.tray
            yield _event(device, midnight, hour + 0.05 + rng.random() / 4, "Refilled", left)


def _meal(rng: random.Random) -> float:
    """An hour of the day at which somebody eats."""
    shares = [share for share, _, _ in MEALS]
    ((_, hour, spread),) = rng.choices(MEALS, shares)
    return min(23.4, max(5.0, rng.gauss(hour, spread)))


def _event(device: Device, midnight: datetime, hour: float, action: str, amount: float) -> Event:
    happened = (midnight + timedelta(hours=hour)).astimezone(UTC)
    claimed, arrives = happened, happened
    if device.number in LATE_DEVICES:  # it keeps what it has until it finds a network
        arrives = midnight.astimezone(UTC) + timedelta(days=2 + device.number % 2, hours=30)
    if device.number == CLOCKLESS_DEVICE:  # its battery is flat: it counts from 1970 each time it starts
        claimed = EPOCH + timedelta(hours=hour)
    fields: Fields = {
        "device": {"model": "LibraV0", "serialNumber": f"Lib{298190 + device.number}"},
        "location": device.location,
        "ingredient": device.ingredient,
        "dataAction": action,
        "amount": round(amount, 1),
        "timestamp": claimed,
    }
    return Event(arrives, fields)


def _written(event: Event, plan: Plan, rng: random.Random) -> Written:
    document = "".join(rng.choices(ID_LETTERS, k=20))
    if rng.random() < plan.malformed:
        event = replace(event, fields=rng.choice(MISTAKES)(dict(event.fields)))
    return Written(document, event.fields)


def _without(name: str) -> Callable[[Fields], Fields]:
    return lambda fields: {field: value for field, value in fields.items() if field != name}


def _with(name: str, value: object) -> Callable[[Fields], Fields]:
    return lambda fields: {**fields, name: value}


def _nested(depth: int) -> Fields:
    return {"in": _nested(depth - 1)} if depth else {"serialNumber": "?"}


MISTAKES: tuple[Callable[[Fields], Fields], ...] = (
    _without("timestamp"),
    _with("timestamp", "2025-09-04 18:57:29"),
    _with("timestamp", 1757012249),
    _with("timestamp", None),
    _without("ingredient"),
    _with("ingredient", None),
    _with("ingredient", 42),
    _with("ingredient", "Soup " * 40),
    _without("dataAction"),
    _with("dataAction", ""),
    _with("dataAction", ["Served"]),
    _with("amount", math.nan),
    _with("amount", "12.5 g"),
    _with("device", _nested(15)),
    lambda _: {},
)
