"""The independent check: what the totals have to be, worked out again from the entries.

On purpose none of the code that counts is used here: this is the catalog's table in the README, as a
person would write it down. It follows LIBRA_TIME_ZONE and LIBRA_TIME_ACTION.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.settings import Settings
from shared.store import Query, Store

CATEGORIES = "aggregates_categories"
ACTIONS = "aggregates_actions"
HOURS = "aggregates_time_hours"
DATES = "aggregates_time_dates"
COLLECTIONS = (CATEGORIES, ACTIONS, HOURS, DATES)
LONGEST_KEY_BYTES = 65_536

Totals = dict[str, Counter[object]]


@dataclass
class Audit:
    """What entries add up to.

    Attributes:
        entries: how many there are.
        totals: by collection and raw key.
        rejected: how many of them could not be counted everywhere.
        increments: how many totals they move, each counted once for each entry that moves it.
    """

    entries: int = 0
    totals: Totals = field(default_factory=lambda: {name: Counter() for name in COLLECTIONS})
    rejected: int = 0

    @property
    def increments(self) -> int:
        return sum(total.total() for total in self.totals.values())


def fold(entries: Iterable[Mapping[str, object]], settings: Settings) -> Audit:
    """Count entries one by one."""
    audit = Audit()
    for entry in entries:
        audit.entries += 1
        ingredient, action, when = (entry.get(name) for name in ("ingredient", "dataAction", "timestamp"))
        countable = [_is_key(ingredient), _is_key(action) and action != ""]
        if countable[0]:
            audit.totals[CATEGORIES][ingredient] += 1
        if countable[1]:
            audit.totals[ACTIONS][action] += 1
        if settings.time_action in (None, action):
            countable.append(isinstance(when, datetime))
        if isinstance(when, datetime) and settings.time_action in (None, action):
            local = when.astimezone(settings.time_zone)
            audit.totals[HOURS][local.hour] += 1
            audit.totals[DATES][f"{local:%Y-%m-%d}"] += 1
        audit.rejected += not all(countable)
    return audit


def _is_key(value: object) -> bool:
    return isinstance(value, str) and len(value.encode()) <= LONGEST_KEY_BYTES


def stored(store: Store) -> Totals:
    """The totals as they stand in Firestore; a second document of the same key has a name of its own."""
    totals: Totals = {name: Counter() for name in COLLECTIONS}
    for name, total in totals.items():
        for document in store.query(Query(name)):
            key = document.fields.get("key")
            count = document.fields.get("count")
            again = f"{key!r} again, in {document.path}" if key in total else key
            total[again] = count if isinstance(count, int) else 0
    return totals


def differences(stored: Totals, exact: Totals) -> Iterator[tuple[str, object, int, int]]:
    """Every total that differs: its collection and key, what is stored, what is exact."""
    for name in COLLECTIONS:
        for key in sorted(stored[name].keys() | exact[name].keys(), key=repr):
            if stored[name][key] != exact[name][key]:
                yield name, key, stored[name][key], exact[name][key]


def reasons(store: Store, collection: str) -> tuple[int, Counter[str]]:
    """How many entries are recorded as rejected, and how many of them for each reason."""
    documents, found = 0, Counter[str]()
    for document in store.query(Query(collection)):
        documents += 1
        recorded = document.fields.get("reasons")
        each = recorded if isinstance(recorded, list) else []
        found.update({f"{one.get('field', 'entry')}: {one['reason']}" for one in each})
    return documents, found
