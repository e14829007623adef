"""Defects on purpose: one line of the real source changed, or one thing left out between it and the database.

A law that no defect can break proves nothing. Each defect names the laws' promise it breaks; the test
beside expects the simulation to find it.

Over 300 lines because half of them are one list, which is read in one place.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

import shared.archive
import shared.drift
import shared.grouping
import shared.ledger
import shared.recompute
import shared.watermark
from shared.errors import Transient
from shared.store import Create, Merge, Store, Write
from tests.simulation.run import Parts
from tests.support.memory_guardless import Guardless


def changed(packages: Sequence[ModuleType], *changes: tuple[str, str]) -> list[ModuleType]:
    """Copies of packages, or of modules, with some of their source replaced; it must be there, once."""
    names = {package.__name__ for package in packages}
    originals = {
        name: module
        for name, module in sys.modules.items()
        if name in names or any(name.startswith(f"{package}.") for package in names)
    }
    sources = {name: inspect.getsource(module) for name, module in originals.items()}
    for old, new in changes:
        found = [name for name, source in sources.items() for _ in range(source.count(old))]
        if len(found) != 1:
            raise LookupError(f"{sorted(names)} hold {old!r} {len(found)} times: adapt the defect")
        sources[found[0]] = sources[found[0]].replace(old, new)
    return _imported(packages, originals, _Sources(sources))


def _imported(
    packages: Sequence[ModuleType], originals: dict[str, ModuleType], finder: "_Sources"
) -> list[ModuleType]:
    """Import packages anew, from other sources, and put the originals back in their place."""
    for name in originals:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        return [importlib.import_module(package.__name__) for package in packages]
    finally:
        sys.meta_path.remove(finder)
        sys.modules.update(originals)
        for package in packages:
            parent, _, name = package.__name__.rpartition(".")
            setattr(sys.modules[parent], name, package)


class _Sources(MetaPathFinder, Loader):
    """Imports modules from sources that are given."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """A specification for the modules that there is a source of."""
        if fullname not in self._sources:
            return None
        package = any(other.startswith(f"{fullname}.") for other in self._sources)
        return spec_from_loader(fullname, self, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source as the module."""
        source = self._sources[module.__name__]
        exec(compile(source, f"<{module.__name__} with a defect>", "exec"), module.__dict__)  # noqa: S102 - our own source


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


class Clamped(_Tap):
    """Keeps a total from falling below zero, as many counters do."""

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        kept = [write for write in writes if not self._sinks(write)]
        return self._inner.commit(kept, **options)  # type: ignore[no-any-return]  # what commit gives

    def _sinks(self, write: Write) -> bool:
        amount = write.increments.get(("count",), 0) if isinstance(write, Merge) else 0
        if amount >= 0:
            return False
        (found,) = self._inner.get([write.path])
        return not found or int(found.fields.get("count", 0)) + amount < 0


def ledger(*changes: tuple[str, str]) -> Parts:
    """Parts with a changed ledger."""
    grouping, changed_ledger = changed([shared.grouping, shared.ledger], *changes)
    return Parts(grouping=grouping, ledger=changed_ledger)


def recompute(*changes: tuple[str, str]) -> Parts:
    """Parts with a changed recompute."""
    return Parts(recompute=changed([shared.recompute], *changes)[0])


def comparing(*changes: tuple[str, str]) -> Parts:
    """Parts with a recompute that compares wrongly."""
    parts, compare = recompute(), changed([shared.drift], *changes)[0].compare
    for module in (parts.recompute.comparison, parts.recompute.corrections):
        module.compare = compare
    return parts


def compacting(*changes: tuple[str, str]) -> Parts:
    """Parts with a recompute that merges the wrong buckets."""
    parts = recompute()
    (watermark,) = changed([shared.watermark], ("WORTH = 6", "WORTH = 1"), *changes)
    parts.recompute.compaction.compacted = watermark.compacted
    return parts


def archive(*changes: tuple[str, str]) -> Parts:
    """Parts with a changed archive."""
    return Parts(archive=changed([shared.archive], *changes)[0])


def tapped(tap: Callable[[Store], Any]) -> Parts:
    """The real parts with something between them and the database."""
    return Parts(tap=tap)


_SEAL = "        self._seal(run, watermark)\n"
_CORRECT = "        self._correct(run, found.corrections)\n"
_LABEL = "bucket_of(member.place.until, self._bucket)"
_DUPLICATES = "if True:\n                member.outcome = Outcome.DUPLICATE\n\n    def _reject"
_OBVIOUS = (
    "if now + SAFETY_MARGIN > end:\n            return False\n        member.place = Place(version, end)"
)
_STILL = "run.lease = run.lease.still(Lease.of(fields_of(state)), self._clock())"
_ARCHIVED = '{("archived", name): amount for name, amount in measures.items()}'
_LATER = "found.add(total.compared(later.get(path, {}), watermark))"
_FRESH = "is_fresh(member.place.after, now, self._lag)"

DEFECTS: dict[str, Callable[[], Parts]] = {
    # the ledger
    "no guard: a lost reply is tried again without a marker": lambda: tapped(Guardless),
    "the guard in a commit of its own, before the increments": lambda: tapped(GuardFirst),
    "the increments in a commit of their own, before the guard": lambda: tapped(GuardLast),
    "a commit without an answer is taken for one that landed": lambda: tapped(Hopeful),
    "an existing marker fails the group instead of one member": lambda: ledger(
        ("if marker:\n                member.outcome = Outcome.DUPLICATE\n\n    def _reject", _DUPLICATES)
    ),
    "the bucket is rounded down": lambda: ledger(
        (_LABEL, "bucket_of(member.place.until - self._bucket, self._bucket)")
    ),
    "the late path is forgotten": lambda: ledger((_FRESH, "True")),
    "the margin is forgotten": lambda: ledger((_FRESH, f"{_FRESH[:-1]}, self._lag * 0)")),
    "the late path reads the watermark outside its transaction": lambda: ledger(
        (
            "self._send(self._writes.of(applied, now), transaction)",
            "self._send(self._writes.of(applied, now), None)",
        )
    ),
    "an entry exactly at the watermark is counted again": lambda: ledger(
        ("member.place.until <= watermark", "member.place.until < watermark")
    ),
    "the marker ignores the create time": lambda: ledger(("{path}\\0{micros}", "{path}")),
    "the event loop's leader goes while others wait": lambda: ledger(
        ("leading = self.queue.done() is not None", "leading = False")
    ),
    # edits and deletions
    "an edit adds the new version and takes nothing back": lambda: ledger(
        ("change(self._source, entry)", "change(self._source, Entry(entry.path, entry.time, entry.fields))")
    ),
    "the marker of an edit is another for each delivery": lambda: ledger(
        (
            "once=marker_id(entry)",
            'once=marker_id(entry) + (f"{self._clock():%H%M%S%f}" if entry.old else "")',
        )
    ),
    "a deletion is labelled by the instance's clock": lambda: ledger(
        (_OBVIOUS, "member.place = Place(now, now)")
    ),
    "the time of the deletion is that of the version": lambda: ledger(
        ("None if entry.gone else Place(entry.time, entry.time)", "Place(entry.time, entry.time)")
    ),
    "the clocks' margin is forgotten for a deletion": lambda: ledger(
        ("if now + SAFETY_MARGIN > end:", "if now > end:")
    ),
    "another version under the same id counts as the one that was deleted": lambda: ledger(
        (
            "document is not None and document.update_time == search.member.entry.time",
            "document is not None",
        )
    ),
    "a deletion that cannot be placed is applied all the same": lambda: ledger(
        ("if self._known or (self._watermark and until <= self._watermark):", "if True:")
    ),
    "a total does not fall below zero": lambda: tapped(Clamped),
    "the record of a version that a superseded edit replaced is kept": lambda: ledger(
        ("        self._finish(list(first.values()))\n", "")
    ),
    "a run keeps records of versions that are replaced or gone": lambda: recompute(
        ("        clean(self._store, self._home, self._fence, run)\n", "")
    ),
    # the archive
    "an archive leaves no markers of deletions": lambda: archive(
        ("writes.append(Merge(home.marker(marker_of(store.name(path), updated, gone=True)), gone))", "pass")
    ),
    "an archive takes from the count what it archives": lambda: archive(
        (_ARCHIVED, _ARCHIVED.replace("}", "} | {(name,): -amount for name, amount in measures.items()}"))
    ),
    "an archive counts nothing as archived": lambda: archive((_ARCHIVED, "{}")),
    "an archive moves an entry that has been edited since": lambda: archive(
        ("Delete(path, if_updated=updated)", "Delete(path)")
    ),
    "an archive moves what is not sealed": lambda: archive(
        ("if document.update_time > self.watermark:", "if False:")
    ),
    "what was archived after the watermark counts twice": lambda: recompute(
        (_LATER, "found.add(total.compared({}, watermark))")
    ),
    # the compaction
    "a compaction overwrites what a trigger has added meanwhile": lambda: recompute(
        (
            'Merge(total.path, {("recent",): recent}, if_updated=total.update_time)',
            'Merge(total.path, {("recent",): recent})',
        )
    ),
    "closed and open buckets are merged": lambda: compacting(
        ("and (watermark or _FIRST) <= begin", ""),
        ("Bucket(end, end - begin)", "Bucket(end, buckets[0][0].length)"),
    ),
    "a compaction keeps one bucket of those that it merges": lambda: compacting(
        ("sum(amount for _, amount in buckets)", "buckets[-1][1]")
    ),
    # the recompute
    "the seal is skipped": lambda: recompute((_SEAL, "")),
    "the seal comes after the totals are read": lambda: recompute((_SEAL, ""), (_CORRECT, _SEAL + _CORRECT)),
    "the fencing check is dropped": lambda: recompute(
        (_STILL, "pass"),
    ),
    "corrections are not numbered": lambda: recompute(
        ("if not landed:", "if True:"),
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
        (
            "(run.started, run.stored_watermark, self._lag,",
            "(run.started, run.stored_watermark, self._lag * 0,",
        )
    ),
    "the snapshot is not read at the watermark": lambda: recompute(
        (
            "            self._home,\n            watermark,\n",
            "            self._home,\n            self._clock() - timedelta(minutes=2),\n",
        ),
    ),
}
