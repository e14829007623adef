"""The intake in memory: what it writes, what it refuses, and what a set total makes of what came since."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Home, Sum
from shared.archive import Archive
from shared.catalog import LIBRA_HOME, libra, sources
from shared.drift import compare
from shared.errors import DeclarationError, Invalid, Overloaded, Transient
from shared.events import EventSource
from shared.events.plain import stored_bytes
from shared.grouping.queue import MAX_WAIT
from shared.intake import Intake, Outcome, Verdict
from shared.ledger import COMMIT_TIMEOUT, Ledger
from shared.recompute.corrections import rebuilding
from shared.settings import Settings
from shared.store import Create, Document, Merge, Query
from tests.support.admitting import AT, CLICKS, HOME, Desk, click
from tests.support.archiving import Shelf
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore
from tests.support.recomputing import Clock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk() -> Desk:
    """A self-written source in memory, with a clock that stands still."""
    clock = Clock(AT)
    return Desk(MemoryStore(clock), clock=clock, sleep=clock.sleep)


def test_a_commit_holds_the_entry_then_each_total_once(desk: Desk) -> None:
    """No marker, no bucket, and no read before it."""
    calls: list[Call] = []
    event = click(1)
    desk.intake(Seams(desk.store, calls.append)).admit(event)
    (call,) = calls
    assert (call.method, call.timeout, call.transaction) == ("commit", COMMIT_TIMEOUT, None)
    when = (("updated_at",),)
    user, day = {"user": "u", "type": "open"}, AT.date().isoformat()
    assert list(call.about) == [
        Create(HOME.entry(f"{hashlib.sha256(b'c1').hexdigest()[:8]}-c1"), event),
        Merge("by_type/open", {("key",): "open"}, {("count",): 1}, server_times=when),
        Merge(f"by_date/{day}", {("key",): day}, {("count",): 1}, server_times=when),
        Merge("by_user/u|open", {("key",): user}, {("count",): 1, ("n",): 1}, server_times=when),
    ]


def test_the_books_of_the_catalog_are_kept_apart() -> None:
    """No collection, and no document of a state or of a bounded key, serves two sources."""
    used: list[str] = []
    for source, home in sources(Settings()).values():
        home.check(source)
        used += [each for each in home.used(source) if each != "aggregates"]
        used += [home.state, *(home.registry(each.name) for each in source.aggregations)]
    assert len(set(used)) == len(used)


@pytest.mark.parametrize(
    ("source", "home"),
    [
        (CLICKS, replace(HOME, self_written=False)),
        (CLICKS, replace(HOME, runs="clicks")),
    ],
    ids=["not self-written", "one collection twice"],
)
def test_a_source_that_it_cannot_keep_is_refused(desk: Desk, source: EventSource, home: Home) -> None:
    """When the process starts."""
    with pytest.raises(DeclarationError, match="source clicks"):
        Intake(desk.store, source, home, Settings())


def test_neither_a_ledger_nor_an_archive_takes_a_self_written_source(desk: Desk) -> None:
    """The first would count each entry again; after the second an event would count when it came again."""
    with pytest.raises(DeclarationError, match="self_written"):
        Ledger(desk.store, CLICKS, HOME, Settings())
    with pytest.raises(DeclarationError, match="self_written"):
        Archive(desk.store, CLICKS, HOME, Shelf())
    Ledger(desk.store, libra(Settings()), LIBRA_HOME, Settings())


def test_an_event_that_an_aggregation_cannot_count_is_rejected(desk: Desk) -> None:
    """The schema admits it and a declaration does not: nothing is stored that would be counted in part."""
    totals = Aggregation("by_type", FieldKey("type"), measures=(Count(), Sum("n", "n", limit=5)))
    narrow = Desk(desk.store, replace(CLICKS, aggregations=(totals,)))
    bad, good = narrow.admit(click(1, n=6), click(2, n=5))
    assert (bad.outcome, bad.id, bad.entry) == (Outcome.REJECTED, "c1", None)
    assert "; ".join(map(str, bad.reasons)) == (
        "n: expected a value that by_type counts, found one that it cannot "
        "(expected at most 5 n an entry, found more)"
    )
    assert good.outcome is Outcome.COUNTED
    assert narrow.agrees()


def test_an_event_is_judged_by_the_time_at_which_it_was_accepted(desk: Desk) -> None:
    """It may have waited in a queue for longer than the schema lets a clock be off."""
    late = click(1, at=AT - timedelta(days=370))
    intake = desk.intake()
    assert intake.admit(late).outcome is Outcome.REJECTED
    assert intake.admit(late, sent=AT - timedelta(days=5)).outcome is Outcome.COUNTED
    again = asyncio.run(intake.admit_async(late, sent=AT - timedelta(days=5)))
    assert again.outcome is Outcome.DUPLICATE
    assert asyncio.run(intake.admit_async(late)).outcome is Outcome.REJECTED


def test_two_that_differ_do_not_share_a_refusal(desk: Desk) -> None:
    """Firestore refuses the first of a group; the other one of its id may be one that it takes."""

    def refuse(call: Call) -> None:
        if any(isinstance(write, Create) and write.fields["n"] == 7 for write in call.about):
            raise Invalid("poison")

    intake = desk.intake(Seams(desk.store, refuse))

    async def together(*events: dict[str, object]) -> Sequence[Verdict | BaseException]:
        admitting = (intake.admit_async(each) for each in events)
        return await asyncio.gather(*admitting, return_exceptions=True)

    first, same, other = asyncio.run(together(click(1, n=7), click(1, n=7), click(1, n=8)))
    assert isinstance(first, Verdict)
    assert isinstance(same, Verdict)
    assert (first.outcome, same.outcome, same.reasons) == (Outcome.REJECTED, Outcome.REJECTED, first.reasons)
    assert isinstance(other, Transient)
    assert "another event of this id was refused: deliver it again" in str(other)
    assert intake.admit(click(1, n=8)).outcome is Outcome.COUNTED


def test_a_commit_of_large_entries_keeps_within_its_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred of the largest signals have 8 MB, and Firestore refuses a commit that large each time."""
    monkeypatch.setattr("shared.grouping.queue.MAX_BYTES", 50_000)
    sizes: list[int] = []

    def weigh(call: Call) -> None:
        if call.method == "commit":
            created = [write for write in call.about if isinstance(write, Create)]
            sizes.append(sum(stored_bytes(write.fields) for write in created))

    intake = desk.intake(Seams(desk.store, weigh))
    events = [click(number, more={"text": "x" * 10_000}) for number in range(12)]

    async def together() -> Sequence[Verdict]:
        return await asyncio.gather(*map(intake.admit_async, events))

    assert {each.outcome for each in asyncio.run(together())} == {Outcome.COUNTED}
    assert sum(sizes) > 120_000
    assert max(sizes) <= 50_000


def test_who_waited_too_long_is_told_to_come_again(desk: Desk) -> None:
    """By the id of its entry; nothing was sent."""
    intake = desk.intake()
    member = intake._member(click(1), None)
    assert not isinstance(member, Verdict)
    desk.sleep(MAX_WAIT.total_seconds() + 1)
    intake._admission.settle([member])
    with pytest.raises(Overloaded, match=r"clicks/\w+-c1: waited 31 s"):
        member.verdict()
    assert desk.totals() == {}


def test_a_long_content_is_cut_in_its_record(desk: Desk) -> None:
    """A document holds 1 MiB."""
    (verdict,) = desk.admit({})
    desk.intakes[0].record("m", verdict, "x" * 200_000)
    desk.intakes[0].record("n", verdict)
    records = {each.fields["event"]: each.fields for each in desk.store.query(Query(HOME.rejected))}
    assert len(str(records["m"]["content"])) == 100_000
    assert "content" not in records["n"]


@pytest.mark.parametrize(
    ("compared", "found", "says"),
    [
        (2.5, 5.5, 4 + 3),
        (0.5, 1.5, 4 + 1),
        (2.5, 2.5, 4),
        (2.5, "many", 4),
        (2.5, True, 4),
        (2.5, None, 4),
        (float("inf"), float("inf"), 4),
        (float("nan"), 7, 4),
        (1e300, 1e300, 4),
    ],
)
def test_a_total_that_is_set_keeps_what_was_added_since(compared: object, found: object, says: int) -> None:
    """Four were counted at the watermark. What cannot be told is left to the next run."""
    aggregation = CLICKS.aggregations[0]
    fields = {"key": "a", "count": compared}
    stale = compare(aggregation, "by_type/a", fields, {"count": 4}, key="a", watermark=NOW, now=NOW)
    total = Document("by_type/a", {"key": "a", "count": found}, NOW, NOW) if found is not None else None
    merge = rebuilding(total, stale, HOME)
    assert merge.if_updated == (NOW if total else None)
    whole = found if isinstance(found, int) and not isinstance(found, bool) else 0
    set_to = merge.fields.get(("count",), whole)
    assert isinstance(set_to, int)
    assert set_to + merge.increments.get(("count",), 0) == says


def test_a_total_beside_a_string_keeps_what_was_added_since() -> None:
    """An increment on what is no number begins at 0."""
    aggregation = CLICKS.aggregations[2]
    fields = {"key": {"user": "u", "type": "a"}, "count": "many", "n": 1.5}
    key: dict[str, str | int] = {"user": "u", "type": "a"}
    path, exact = "by_user/u|a", {"count": 4, "n": 9}
    stale = compare(aggregation, path, fields, exact, key=key, watermark=NOW, now=NOW)
    found = Document(path, fields | {"count": 2, "n": 4.5}, NOW, NOW)
    merge = rebuilding(found, stale, HOME)
    assert merge.fields == {("count",): 6, ("n",): 12, ("recent",): {}}
