"""The intake, over the emulator and over its in-memory twin."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from shared.aggregation import Aggregation, Bounded, Cell, FieldKey
from shared.errors import Invalid, StateError, Transient
from shared.events import EventSource, Violation
from shared.grouping.settling import RETRY
from shared.intake import Outcome, Verdict
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Merge, Query, Store
from tests.support.admitting import CLICKS, HOME, Desk, click
from tests.support.memory_seams import Call, Fault, Seams

DIFFERENT = (Outcome.DUPLICATE, True)


@pytest.fixture
def desk(store: Store) -> Desk:
    """A self-written source in an empty database, of either kind."""
    return Desk(store)


def losing(*faults: Fault | None) -> Callable[[Call], Fault | None]:
    """A plan that lets the commits fare as told, and after that well."""
    left = list(faults)
    return lambda call: left.pop(0) if call.method == "commit" and left else None


# --- once -------------------------------------------------------------------------------------------


def test_an_event_becomes_an_entry_and_moves_its_totals(desk: Desk) -> None:
    """The entry holds what was sent, under a spread id; each total says its key, its count and when."""
    event = click("1", id="a/1", more={"tags": ["x", None]})
    (verdict,) = desk.admit(event)
    assert verdict.outcome is Outcome.COUNTED
    assert (verdict.id, verdict.reasons, verdict.differs) == ("a/1", (), False)
    (entry,) = desk.store.query(Query(HOME.entries))
    assert (entry.path, entry.fields) == (verdict.entry, event)
    assert entry.path.endswith("-a%2F1")
    (total,) = desk.store.query(Query("by_user"))
    assert isinstance(total.fields["updated_at"], datetime)
    assert total.fields | {"updated_at": 0} == {
        "key": {"user": "u", "type": "open"}, "count": 1, "n": 1, "updated_at": 0
    }  # fmt: skip
    assert desk.agrees()


def test_a_second_delivery_counts_nothing(desk: Desk) -> None:
    """By the same intake and by another one."""
    event = click(1)
    assert [verdict.outcome for verdict in desk.admit(event, event)] == [Outcome.COUNTED, Outcome.DUPLICATE]
    again = desk.intake().admit(event)
    assert (again.outcome, again.differs) == (Outcome.DUPLICATE, False)
    assert desk.totals()[Cell("by_type", "open")] == {"count": 1}


def test_a_delivery_with_other_content_is_a_duplicate_that_differs(desk: Desk) -> None:
    """Nothing is overwritten, and nothing moves."""
    event = click(1)
    first, other = desk.admit(event, event | {"n": 2, "type": "close"})
    assert (first.outcome, first.differs) == (Outcome.COUNTED, False)
    assert (other.outcome, other.differs, other.entry) == (Outcome.DUPLICATE, True, first.entry)
    (entry,) = desk.store.query(Query(HOME.entries))
    assert entry.fields == event
    assert desk.agrees()


def test_events_that_came_together_ride_in_one_commit(desk: Desk) -> None:
    """A total is written once for all of them; of two with one id the first one counts."""
    intake = desk.intake()

    async def together() -> Sequence[Verdict]:
        events = [click(1), click(2), click(1), click(3), click(2, n=9)]
        return await asyncio.gather(*(intake.admit_async(each) for each in events))

    first, second, again, third, other = asyncio.run(together())
    assert {each.outcome for each in (first, second, third)} == {Outcome.COUNTED}
    assert [(each.outcome, each.differs) for each in (again, other)] == [
        (Outcome.DUPLICATE, False),
        DIFFERENT,
    ]
    assert (intake.figures.commits, intake.figures.writes) == (1, 3 + 3)
    assert desk.agrees()


def test_each_of_a_group_is_compared_with_what_is_stored(desk: Desk) -> None:
    """Not with the first one of its id in the group, which may differ from the entry itself."""
    intake = desk.intake()
    intake.admit(click(1))

    async def together() -> Sequence[Verdict]:
        events = [click(1, n=2), click(1), click(1, n=2)]
        return await asyncio.gather(*(intake.admit_async(each) for each in events))

    assert [each.differs for each in asyncio.run(together())] == [True, False, True]


def test_threads_share_an_intake(desk: Desk) -> None:
    """Sixty events, each sent twice, over two intakes: each is counted once, and told so once."""
    intakes = [desk.intake(group_size=8), desk.intake(group_size=8)]
    with ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(lambda n: intakes[n % 2].admit(click(n // 2)), range(120)))
    assert Counter(each.outcome for each in verdicts) == {Outcome.COUNTED: 60, Outcome.DUPLICATE: 60}
    assert not any(each.differs for each in verdicts)
    assert desk.agrees()
    assert desk.totals()[Cell("by_type", "open")] == {"count": 60}


@pytest.mark.parametrize("fault", ["reply lost", "request lost", "contention"])
def test_a_commit_without_an_answer_is_tried_again(desk: Desk, fault: Fault) -> None:
    """It lands once, whether it had landed or not."""
    intake = desk.intake(Seams(desk.store, losing(fault)))
    verdict = intake.admit(click(1))
    assert verdict.outcome is (Outcome.DUPLICATE if fault == "reply lost" else Outcome.COUNTED)
    assert not verdict.differs
    assert desk.agrees()


def test_what_is_not_known_to_be_counted_is_not_acknowledged(desk: Desk) -> None:
    """After as many attempts as there are; the next delivery finds out."""
    desk.sleep = lambda _: None
    lost: list[Fault] = ["request lost"] * RETRY.attempts
    intake = desk.intake(Seams(desk.store, losing(*lost)))
    with pytest.raises(Transient):
        intake.admit(click(1))
    assert desk.totals() == {}
    assert intake.admit(click(1)).outcome is Outcome.COUNTED
    assert intake.figures.retries == RETRY.attempts - 1


# --- what is refused --------------------------------------------------------------------------------


def test_an_event_that_breaks_the_schema_is_told_why(desk: Desk) -> None:
    """Everything at once; nothing is read or written, and its neighbours go through."""
    bad, good = desk.admit(click(1, n=-1, type="", colour="red"), click(2))
    assert (bad.outcome, bad.entry) == (Outcome.REJECTED, None)
    assert [each.field for each in bad.reasons] == ["colour", "type", "n"]
    assert good.outcome is Outcome.COUNTED
    assert len(list(desk.store.query(Query(HOME.entries)))) == 1
    assert list(desk.store.query(Query(HOME.rejected))) == []


def test_a_rejected_event_is_recorded_where_that_is_asked(desk: Desk) -> None:
    """Once, however often it is delivered; with its reasons and what it said."""
    (verdict,) = desk.admit(click(1, n=-1))
    for _ in range(2):
        desk.intakes[0].record("message/7", verdict, '{"n": -1, "\ud800": 0}')
    (record,) = desk.store.query(Query(HOME.rejected))
    assert record.path.startswith(f"{HOME.rejected}/event-")
    assert isinstance(record.fields["rejected_at"], datetime)
    assert record.fields | {"rejected_at": 0} == {
        "event": "message/7",
        "reasons": [{"field": "n", "reason": "expected an integer from 0 to 1000, found one beyond that"}],
        "content": '{"n": -1, "?": 0}',
        "rejected_at": 0,
    }


def test_one_event_that_firestore_refuses_takes_no_other_with_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The group is halved until the poison stands alone. Its sender learns that, the log says why."""
    poison = "by_type/poison"

    def refuse(call: Call) -> None:
        if call.method == "commit" and poison in {getattr(write, "path", None) for write in call.about}:
            raise Invalid("the poison")

    intake = desk.intake(Seams(desk.store, refuse))

    async def together() -> Sequence[Verdict]:
        events = [click(1), click(2), click("poison", type="poison"), click(3)]
        return await asyncio.gather(*(intake.admit_async(each) for each in events))

    *good, bad = sorted(asyncio.run(together()), key=lambda each: each.outcome is Outcome.REJECTED)
    assert {each.outcome for each in good} == {Outcome.COUNTED}
    expected = Violation("", "one that Firestore refuses", "an event that it can store")
    assert (bad.outcome, bad.id, bad.entry, bad.reasons) == (Outcome.REJECTED, "cpoison", None, (expected,))
    (logged,) = (each for each in caplog.records if each.message == "Firestore refuses an event")
    assert (logged.__dict__["entry"], logged.__dict__["error"]) == (
        HOME.entry("54dba82b-cpoison"),
        "the poison",
    )
    assert len(list(desk.store.query(Query(HOME.entries)))) == 3


def test_whatever_the_schemas_of_the_catalog_admit_can_be_stored(desk: Desk) -> None:
    """The longest, the deepest, the strangest: Firestore takes it as it is."""
    now = datetime.now(UTC)
    deep: dict[str, object] = {
        "leaf": [None, True, 2**63 - 1, -(2**63), 5e-324, 1.7e308, "\x00", "", "\U0010ffff"]
    }
    for _ in range(6):
        deep = {"`.~*/[]": deep}
    events: dict[str, dict[str, object]] = {
        "user_events": {
            "event_id": "/" * 256, "user_id": "__u__", "event_type": "..", "session_id": "\U0001f600" * 64,
            "page": "x" * 1_500, "product_id": ".", "value": -1e12, "timestamp": now.isoformat(),
        },
        "signals": {
            "user_id": "/" * 256, "timestamp": now.isoformat(), "signal_type": "é" * 50, "flag_type": "__f__",
            "confidence": 1, "topic_category": "%", "source_platform": "a|b", "event_details": deep,
        },
    }  # fmt: skip
    for name, event in events.items():
        books = self_written(Settings())[name]
        one = Desk(desk.store, *books)
        (verdict,) = one.admit(event)
        assert verdict.outcome is Outcome.COUNTED, verdict
        (again,) = one.admit(event)
        assert (again.outcome, again.differs) == (Outcome.DUPLICATE, False)
        assert one.agrees()
        assert one.run().drift == 0


# --- keys that are bounded ----------------------------------------------------------------------------


def test_keys_that_are_bounded_agree_between_intakes_and_runs(desk: Desk) -> None:
    """Whoever meets a value first admits it; the others are counted together."""
    part = Bounded(FieldKey("type"), most=2, other="other")
    source = EventSource("clicks", (Aggregation("by_type", part),), CLICKS.schema)
    bounded = Desk(desk.store, source)
    bounded.admit(*(click(f"{number}", type=f"t{number % 4}") for number in range(8)))
    bounded.intake().admit(click("9", type="t3"))
    assert bounded.run().drift == 0
    shown = {
        document.fields["key"]: document.fields["count"] for document in desk.store.query(Query("by_type"))
    }
    assert shown == {"t0": 2, "t1": 2, "other": 5}


def test_a_damaged_registry_acknowledges_nothing(desk: Desk) -> None:
    """The list of a bounded key is somebody's string: told, and the event is delivered again later."""
    part = Bounded(FieldKey("type"), most=2, other="other")
    bounded = Desk(desk.store, EventSource("clicks", (Aggregation("by_type", part),), CLICKS.schema))
    desk.store.commit([Merge(HOME.registry("by_type"), {("admitted",): "t0"})], timeout=10)
    with pytest.raises(StateError, match="put it back, or delete the document"):
        bounded.admit(click(1))
    assert list(desk.store.query(Query(HOME.entries))) == []
