"""Since when each aggregation is exact: what the state document records, and what a run makes of it. Pure.

**Why a new aggregation is not exact at once.** A run corrects every total up to its watermark W. What comes
after W is counted by the triggers, and for a while after a deployment an instance of the old code may still
apply entries: without a new aggregation, or under the old declaration of a changed one. So an aggregation is
*filling* from the first run that sees its declaration (``declared_at``, by Firestore's clock). It is exact
from the first run whose W is `OLD_CODE` later. That run corrected what old instances did, and none is left.

What a run corrects in a filling aggregation is expected: it is `filled`, no drift, and no loss is refused.
The exception is an aggregation of which no record could be read (``why`` is ``first``): the state document is
new, of an older version of Libra, or damaged. Nothing about its totals is expected then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from shared.aggregation import Aggregation, Home, Source, type_name
from shared.aggregation.digest import digest

OLD_CODE = timedelta(minutes=30)
"""How long after the first run with a new declaration a trigger may still count by the old one. `deploy.sh`
deploys the recompute before the trigger, which takes two to four minutes. An instance of the old revision may
then live for 20 (`deploy.lag.DRAIN`): 15 minutes idle, and the trigger's timeout of 120 seconds before
(https://cloud.google.com/run/docs/about-instance-autoscaling, 2026-11). The rest is a margin."""

FIELD = "aggregations"
"""The field of the state document that holds a map of standings, by the aggregation's name."""

Why: TypeAlias = Literal["first", "new", "changed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one aggregation stands."""

    name: str
    collection: str
    """Where its totals live."""
    digest: str
    """Of its declaration."""
    measures: tuple[str, ...]
    """The fields of a total that it counts."""
    why: Why
    """Why it was filled: no record of it could be read, it was new, or it was declared in another way."""
    declared_at: datetime | None = None
    """When the first run saw the declaration; None: none has."""
    exact_since: datetime | None = None
    """The watermark from which on it is exact; None while it is filling."""
    orphaned: bool = False
    """Whether it is declared no more."""
    orphaned_at: datetime | None = None
    """When the first run saw that; None: none has."""
    orphaned_fields: tuple[str, ...] = ()
    """Measures that it once had. The totals still hold these fields."""
    sum: int | None = None
    """What the last run counted in it, over all of its totals; None: no run has."""

    @property
    def exact_from(self) -> datetime | None:
        """A run with this watermark, or a later one, makes it exact."""
        return self.declared_at + OLD_CODE if self.declared_at else None

    @property
    def filling(self) -> bool:
        """Whether it is declared and not exact yet."""
        return self.exact_since is None and not self.orphaned

    @property
    def expected(self) -> bool:
        """Whether it is expected that a run corrects its totals."""
        return self.filling and self.why != "first"

    @property
    def state(self) -> Literal["exact", "filling", "unseen", "orphaned"]:
        """All of this in a word; `unseen`: it is filling, and no run knows it yet."""
        if self.orphaned:
            return "orphaned"
        if self.exact_since:
            return "exact"
        return "filling" if self.declared_at else "unseen"

    def as_fields(self) -> dict[str, object]:
        """What the state document holds."""
        return {
            "collection": self.collection,
            "digest": self.digest,
            "measures": list(self.measures),
            "why": self.why,
            "declared_at": self.declared_at,
            "exact_since": self.exact_since,
            "orphaned_at": self.orphaned_at,
            "orphaned_fields": list(self.orphaned_fields),
            "sum": self.sum,
        }


@dataclass(frozen=True, slots=True)
class Standings:
    """How the aggregations of a source stand."""

    declared: tuple[Standing, ...]
    """In the order of the declarations."""
    orphaned: tuple[Standing, ...] = ()
    """What the state document knows and the source does not declare, in collections that nothing uses."""
    notes: tuple[str, ...] = ()
    """What was found that Libra never writes."""

    @property
    def expected(self) -> frozenset[str]:
        """The names of the aggregations in which corrections are expected."""
        return frozenset(each.name for each in self.declared if each.expected)

    def proven(self, watermark: datetime, seen: datetime, sums: Mapping[str, int]) -> "Standings":
        """How they stand after a run.

        Args:
            watermark: at which the run has proven the totals.
            seen: when the run began, by Firestore's clock.
            sums: what it counted, by aggregation; nothing, where one is missing.
        """
        return replace(
            self,
            declared=tuple(
                replace(_proven(each, watermark, seen), sum=sums.get(each.name, 0)) for each in self.declared
            ),
            orphaned=tuple(replace(each, orphaned_at=each.orphaned_at or seen) for each in self.orphaned),
        )

    def as_fields(self) -> dict[str, object]:
        """What the state document holds."""
        return {each.name: each.as_fields() for each in (*self.declared, *self.orphaned)}


def standings(source: Source, home: Home, state: Mapping[str, object]) -> Standings:
    """How the aggregations that are declared, and those that were, stand by the state document.

    Args:
        source: what is declared.
        home: where its totals live.
        state: the fields of the state document.
    """
    known = state.get(FIELD)
    notes: list[str] = []
    if FIELD in state and not isinstance(known, Mapping):
        notes.append(f"{home.state}: {FIELD} holds {type_name(known)}, expected a map; a run writes it anew")
    recorded = known if isinstance(known, Mapping) else None
    read = {name: _read(name, fields) for name, fields in (recorded or {}).items()}
    notes += [
        f"{home.state}: {FIELD}.{name} is no record of an aggregation; a run writes it anew, or removes it"
        for name, standing in read.items()
        if standing is None
    ]
    declared = tuple(
        _now(each, home, read.get(each.name), unknown=recorded is None or read.get(each.name, ...) is None)
        for each in source.aggregations
    )
    left = sorted((*_removed(declared, read), *_moved(declared, read)), key=lambda each: each.name)
    used = home.used(source)
    return Standings(declared, tuple(each for each in left if each.collection not in used), tuple(notes))


def _now(aggregation: Aggregation, home: Home, before: Standing | None, *, unknown: bool) -> Standing:
    """How a declared aggregation stands, given what the state document says of it."""
    now = Standing(
        aggregation.name,
        home.collection(aggregation.name),
        digest(aggregation),
        aggregation.stored_fields,
        "first" if unknown else "new",
    )
    if before is None:
        return now
    same = (before.digest, before.collection) == (now.digest, now.collection)
    if same and not before.orphaned:
        return before
    left = {*before.orphaned_fields, *before.measures} - set(now.measures)
    return replace(now, why="new" if before.orphaned else "changed", orphaned_fields=tuple(sorted(left)))


def _removed(declared: tuple[Standing, ...], read: Mapping[str, Standing | None]) -> Iterator[Standing]:
    """What is declared no more."""
    names = {each.name for each in declared}
    for name, before in read.items():
        if before and name not in names:
            yield replace(before, orphaned=True)


def _moved(declared: tuple[Standing, ...], read: Mapping[str, Standing | None]) -> Iterator[Standing]:
    """The collections that declared aggregations have left: each is orphaned, under a name of its own."""
    for each in declared:
        before = read.get(each.name)
        if before and before.collection != each.collection:
            name = f"{each.name}:{before.collection}"
            yield replace(before, name=name, orphaned=True, orphaned_at=None)


def _proven(standing: Standing, watermark: datetime, seen: datetime) -> Standing:
    declared_at = standing.declared_at or seen
    exact_since = standing.exact_since
    if exact_since is None and watermark >= declared_at + OLD_CODE:
        exact_since = watermark
    return replace(standing, declared_at=declared_at, exact_since=exact_since)


def _read(name: str, fields: object) -> Standing | None:
    """One record; None if it is not one."""
    match fields:
        case {
            "collection": str(collection),
            "digest": str(said),
            "measures": [*measures],
            "why": str(why),
            "declared_at": datetime() as declared_at,
            "exact_since": datetime() | None as exact_since,
            "orphaned_at": datetime() | None as orphaned_at,
            "orphaned_fields": [*orphaned_fields],
            **others,
        } if why in get_args(Why):
            return Standing(
                name,
                collection,
                said,
                tuple(map(str, measures)),
                why,  # type: ignore[arg-type]  # one of them
                declared_at,
                exact_since,
                orphaned_at is not None,
                orphaned_at,
                tuple(map(str, orphaned_fields)),
                last if isinstance(last := others.get("sum"), int) else None,
            )
    return None
