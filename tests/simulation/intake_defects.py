"""Defects of intakes and of their recompute, each of which breaks the law that `intakes` holds."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import shared.grouping
import shared.intake
import shared.recompute
from shared.store import Create, Write
from tests.simulation.defects import Hopeful, changed
from tests.simulation.intakes import Doors
from tests.support.admitting import HOME
from tests.support.memory_guardless import Guardless


def intake(*changes: tuple[str, str]) -> Doors:
    """Doors with a changed intake."""
    grouping, made = changed([shared.grouping, shared.intake], *changes)
    return Doors(grouping=grouping, intake=made)


def recompute(*changes: tuple[str, str]) -> Doors:
    """Doors with a changed recompute."""
    return Doors(recompute=changed([shared.recompute], *changes)[0])


class _InTwo:
    """The entries and the increments in two commits."""

    entries_first: bool

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        entries = [
            each for each in writes if isinstance(each, Create) and each.path.startswith(HOME.entries + "/")
        ]
        rest = [each for each in writes if each not in entries]
        for part in (entries, rest) if self.entries_first else (rest, entries):
            if part:
                at = self._inner.commit(part, **options)
        return at  # type: ignore[no-any-return]  # what commit gives


class EntriesFirst(_InTwo):
    entries_first = True


class EntriesLast(_InTwo):
    entries_first = False


def _tapped(tap: Callable[[Any], Any]) -> Doors:
    return Doors(tap=tap)


_STILL = "run.lease = run.lease.still(Lease.of(fields_of(state)), self._clock())"
_NEXT = "return next_watermark(run.started, "
_COUNTED = "            self._home,\n            watermark,\n"

DEFECTS: dict[str, Callable[[], Doors]] = {
    "increments without the entry": lambda: _tapped(Guardless),
    "the entry in a commit of its own, before the increments": lambda: _tapped(EntriesFirst),
    "the increments in a commit of their own, before the entry": lambda: _tapped(EntriesLast),
    "a commit without an answer is taken for one that landed": lambda: _tapped(Hopeful),
    "an entry that exists makes a duplicate of its whole group": lambda: intake(
        (
            "if entry:\n                member.outcome, member.stored = Outcome.DUPLICATE, entry.fields",
            "member.outcome, member.stored = Outcome.DUPLICATE, entry.fields if entry else {}",
        )
    ),
    "an entry that exists fails its whole group": lambda: intake(
        ("            if entry:\n", "            if False:\n")
    ),
    "two that differ in a group are taken for the same": lambda: intake(
        (
            "member.stored, member.reasons = original.stored,",
            "member.stored, member.reasons = member.event.fields,",
        )
    ),
    "the event loop's leader goes while others wait": lambda: intake(
        ("leading = self.queue.done() is not None", "leading = False")
    ),
    "the watermark comes from the run's clock": lambda: recompute(
        (_NEXT, "return next_watermark(min(run.started, self._clock()), ")
    ),
    "the watermark is an instant before the run's record": lambda: recompute(
        (_NEXT, "return next_watermark(run.started - timedelta(seconds=1), ")
    ),
    "the totals are read as they are now": lambda: recompute(
        ("self._read_time = watermark if home.self_written else None", "self._read_time = None")
    ),
    "the entries are counted as of another instant than the totals": lambda: recompute(
        (_COUNTED, "            self._home,\n            watermark - timedelta(seconds=1),\n")
    ),
    "the fencing check is dropped": lambda: recompute((_STILL, "pass")),
    "corrections are not numbered": lambda: recompute(("if not landed:", "if True:")),
    "corrections don't depend on the state document that was read": lambda: recompute(
        ("            if_updated=found.update_time,\n", "")
    ),
    "a total is set instead of incremented": lambda: recompute(
        ("{(measure,): amount for measure, amount in correction.drift.items()}", "{}"),
        (
            "fields: dict[FieldPath, object] = {} if",
            "fields: dict[FieldPath, object] = {('count',): correction.exact['count']} if",
        ),
    ),
    "a total that is set forgets what was counted since": lambda: recompute(
        ("column: value + _added(stale.stored.get(column), fields.get(column))", "column: value")
    ),
}
