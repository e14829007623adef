"""Defects on purpose: one line of the real source changed, or one thing left out between it and the database.

A law that no defect can break proves nothing. Each defect names the laws' promise it breaks; the test
beside expects the simulation to find it.
"""

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any

import shared.drift
import shared.ledger
import shared.recompute
from shared.errors import Transient
from shared.store import Create, Store, Write
from tests.memory_guardless import Guardless
from tests.simulation.run import Parts


def changed(module: ModuleType, *changes: tuple[str, str]) -> ModuleType:
    """A copy of a module with some of its source replaced. What is replaced must be there, once."""
    source = inspect.getsource(module)
    for old, new in changes:
        if source.count(old) != 1:
            raise LookupError(f"{module.__name__} holds {old!r} {source.count(old)} times: adapt the defect")
        source = source.replace(old, new)
    spec = importlib.util.find_spec(module.__name__)
    assert spec
    copy = importlib.util.module_from_spec(spec)
    exec(compile(source, f"<{module.__name__} with a defect>", "exec"), copy.__dict__)  # noqa: S102 - our own source
    return copy


class _Tap:
    """A store with a changed commit."""

    def __init__(self, inner: Store) -> None:
        self._inner: Any = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _InTwo(_Tap):
    """Guard and increments in two commits, which is what "check, then count" amounts to."""

    guard_first: bool

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        guards = [write for write in writes if isinstance(write, Create) and "seen" in write.path]
        rest = [write for write in writes if write not in guards]
        for part in (guards, rest) if self.guard_first else (rest, guards):
            if part:
                at = self._inner.commit(part, **options)
        return at  # type: ignore[no-any-return]  # what commit gives


class GuardFirst(_InTwo):
    guard_first = True


class GuardLast(_InTwo):
    guard_first = False


class Hopeful(_Tap):
    """Takes a commit without an answer for one that landed."""

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime | None:
        try:
            return self._inner.commit(writes, **options)  # type: ignore[no-any-return]  # what commit gives
        except Transient as error:
            if type(error) is Transient:
                return None
            raise


def ledger(*changes: tuple[str, str]) -> Parts:
    """Parts with a changed ledger."""
    return Parts(ledger=changed(shared.ledger, *changes))


def recompute(*changes: tuple[str, str]) -> Parts:
    """Parts with a changed recompute."""
    return Parts(recompute=changed(shared.recompute, *changes))


def comparing(*changes: tuple[str, str]) -> Parts:
    """Parts with a recompute that compares wrongly."""
    parts = recompute()
    parts.recompute.compare = changed(shared.drift, *changes).compare  # type: ignore[attr-defined]  # a module
    return parts


def tapped(tap: Callable[[Store], Any]) -> Parts:
    """The real parts with something between them and the database."""
    return Parts(tap=tap)


_SEAL = "        self._seal(run, watermark)\n"
_CORRECT = "        self._correct(run, found.corrections)\n"
_LABEL = "bucket_of(member.entry.create_time, self._settings.bucket)"
_FRESH = "is_fresh(member.entry.create_time, now, lag)"

DEFECTS: dict[str, Callable[[], Parts]] = {
    # the ledger
    "no guard: a lost reply is tried again without a marker": lambda: tapped(Guardless),
    "the guard in a commit of its own, before the increments": lambda: tapped(GuardFirst),
    "the increments in a commit of their own, before the guard": lambda: tapped(GuardLast),
    "a commit without an answer is taken for one that landed": lambda: tapped(Hopeful),
    "an existing marker fails the group instead of one member": lambda: ledger(
        ("            if marker:\n", "            if True:\n")
    ),
    "the bucket is rounded down": lambda: ledger(
        (_LABEL, "bucket_of(member.entry.create_time - self._settings.bucket, self._settings.bucket)")
    ),
    "the late path is forgotten": lambda: ledger((_FRESH, "True")),
    "the margin is forgotten": lambda: ledger((_FRESH, f"{_FRESH[:-1]}, lag * 0)")),
    "the late path reads the watermark outside its transaction": lambda: ledger(
        (
            "self._send(self._writes(applied, now), transaction)",
            "self._send(self._writes(applied, now), None)",
        )
    ),
    "an entry exactly at the watermark is counted again": lambda: ledger(
        ("member.entry.create_time <= watermark", "member.entry.create_time < watermark")
    ),
    "the marker ignores the create time": lambda: ledger(("{entry.path}\\0{micros}", "{entry.path}")),
    "the event loop's leader goes while others wait": lambda: ledger(
        ("leading = self._leading = bool(self._queue)", "leading = False")
    ),
    # the recompute
    "the seal is skipped": lambda: recompute((_SEAL, "")),
    "the seal comes after the totals are read": lambda: recompute((_SEAL, ""), (_CORRECT, _SEAL + _CORRECT)),
    "the fencing check is dropped": lambda: recompute(
        ("                    self._check_lease(run, _fields(state))\n", ""),
    ),
    "corrections are not numbered": lambda: recompute(
        ('_fields(recorded).get("step") != run.step + 1', "True"),
    ),
    "corrections don't depend on the state document that was read": lambda: recompute(
        ("            if_updated=found.update_time,\n", ""),
    ),
    "an open bucket is closed with the others": lambda: comparing(
        ("elif bucket[0].end <= watermark:", "elif bucket[0].end <= watermark + bucket[0].length:")
    ),
    "what triggers add behind the watermark counts as drift": lambda: comparing(
        (" - self._sums.get(measure, 0)", "")
    ),
    "a total is set instead of incremented": lambda: recompute(
        ("{(measure,): amount for measure, amount in correction.drift.items()}", "{}"),
        (
            "fields: dict[FieldPath, object] = {} if",
            "fields: dict[FieldPath, object] = {('count',): correction.exact['count']} if",
        ),
    ),
    "the watermark does not trail the clock": lambda: recompute(
        ("settings.lag, settings.bucket)", "settings.lag * 0, settings.bucket)")
    ),
    "the snapshot is not read at the watermark": lambda: recompute(
        (
            "            self._store, self._source, watermark, workers",
            "            self._store, self._source, self._clock() - timedelta(minutes=2), workers",
        ),
    ),
}
