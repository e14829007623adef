"""What a recompute leaves for its readers, to the letter: record and state at each step, log, report.

`libra status`, the next run and an operator's queries read these fields by name.

Over 300 lines because it compares whole records and corrections, field by field.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from shared.aggregation import Cell
from shared.aggregation.digest import digest
from shared.errors import Denied, LeaseLost, SnapshotTooOld, StateError, Transient
from shared.recompute import LEASE, Corrected, Recompute, Report
from shared.recompute.comparison import LISTED
from shared.recompute.corrections import BATCH_BYTES, BATCH_DOCUMENTS, batches
from shared.recompute.fence import RETRY
from shared.recompute.report import completed
from shared.store import Delete, Document, Merge, Query, Write
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import BEGIN, World, converged, totals

NOW = BEGIN + timedelta(minutes=30)
W = NOW - timedelta(minutes=10)
CATEGORY = "aggregates_categories/Kettle Chips"
Look = tuple[Mapping[str, object], Mapping[str, object]]


@pytest.fixture
def world() -> World:
    """Three entries that are counted and one that is lost, half an hour ago."""
    world = World()
    world.serve(3)
    world.write("lost")
    world.later(minutes=30)
    return world


def looking(world: World, seen: dict[str, Look]) -> Callable[[str], None]:
    """Note the record and the state document after each step."""

    def look(step: str) -> None:
        if step.endswith("committed"):
            seen[step.removesuffix(" committed")] = (world.runs()[-1], world.state())

    return look


# --- the record and the state -----------------------------------------------------------------------


def test_the_record_and_the_state_tell_the_life_of_a_run(world: World) -> None:
    """Queued, processing, completed; the lease beside, with the step it has come to."""
    seen: dict[str, Look] = {}
    report = world.run("scan", step=looking(world, seen))
    lease = {"run_id": report.run_id, "token": 1, "expires_at": NOW + LEASE}
    queued = {"state": "queued", "queued_at": NOW, "asked": "scan", "token": 1}
    chosen = queued | {"state": "processing", "watermark": W, "strategy": "scan", "why": "asked for"}
    assert seen["acquire"] == (queued | {"step": 0}, {"lease": lease | {"step": 0}})
    assert seen["process"] == (chosen | {"step": 1, "step_name": "process"}, {"lease": lease | {"step": 1}})
    assert seen["seal"] == (
        chosen | {"step": 2, "step_name": "seal"},
        {"lease": lease | {"step": 2}, "timestamp": W},
    )
    assert seen["correct"] == (
        chosen | {"step": 3, "step_name": "correct"},
        {"lease": lease | {"step": 3}, "timestamp": W},
    )
    standing = {
        each.name: {
            "collection": each.name,
            "digest": digest(each),
            "measures": ["count"],
            "why": "first",
            "declared_at": NOW,
            "exact_since": None,
            "orphaned_at": None,
            "orphaned_fields": [],
            "sum": 4,
        }
        for each in world.source.aggregations
    }
    released = lease | {"expires_at": None, "step": 4}
    assert seen["complete"] == (
        chosen
        | {
            "state": "completed",
            "step": 4,
            "step_name": "complete",
            "run_id": report.run_id,
            "finished_at": NOW,
            "entries": 4,
            "documents": 4,
            "drift": 4,
            "corrected": 4,
            "corrections": [asdict(each) for each in report.corrections],
            "reads": report.reads,
            "writes": report.writes,
            "seconds": 0.0,
            "notes": [],
            "losses": [],
            "filled": 0,
            "filling": [each.as_json() for each in report.filling],
            "proposal": "",
        },
        {"lease": released, "timestamp": W, "proven": W, "aggregations": standing},
    )


def test_the_report_accounts_for_every_read_and_write(world: World) -> None:
    """As Firestore bills them: a dry run reads, and writes nothing."""
    fenced = 4 * 2  # process, seal, correct, complete: the state and the record
    counted, listed = 4, 5  # entries; totals, and the record of the last archived page
    dry = world.recompute().verify("scan")
    assert (dry.reads, dry.writes) == (counted + listed + 2, 0)
    report = world.run("scan")
    assert report.reads == 2 + fenced + counted + listed + 1  # looked for rejections, found none
    assert report.writes == 2 + fenced + 4
    commits(world, lambda number: None if number else "reply lost")
    again = world.run("scan")
    assert again.reads == 4 + 2 * 2 + counted + listed + 1  # process, complete: nothing to seal or correct


def test_the_report_takes_the_time_from_beginning_to_end(world: World) -> None:
    """In seconds; as JSON to the millisecond."""

    def slow(call: Call) -> Fault | None:
        world.later(seconds=1.23456 if call.method == "scan" else 0)
        return None

    world.store = Seams(world.memory, slow)
    for report in (world.recompute().verify("scan"), world.run("scan")):
        assert report.seconds == pytest.approx(1.23456)
        assert report.as_json()["seconds"] == 1.235


def test_auto_is_what_a_run_and_a_dry_run_do_unasked(world: World) -> None:
    """It says why."""
    assert world.recompute().verify().why == world.recompute().run().why
    assert world.runs()[-1]["asked"] == "auto"


def test_a_run_id_is_the_time_in_utc_and_a_random_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever zone the clock or the machine is in: ids sort by time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        zone = timezone(timedelta(hours=2))
        report = world.run(clock=lambda: world.clock().astimezone(zone))
    finally:
        monkeypatch.undo()
        time.tzset()
    begun, _, rest = str(report.run_id).partition("-")
    assert begun == f"{NOW:%Y%m%dT%H%M%SZ}"
    assert len(bytes.fromhex(rest)) == 4


def test_the_next_run_buries_one_that_died_before_it_began_to_count(world: World) -> None:
    """It is queued for ever, unless somebody says that it failed."""

    def die(step: str) -> None:
        if step == "acquire committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.run(step=die)
    world.later(minutes=5)
    world.run()
    dead, alive = world.runs()
    assert (
        dead["error"] == f"it died or lost its connection: its lease expired at {(NOW + LEASE).isoformat()}"
    )
    assert (dead["state"], alive["state"]) == ("failed", "completed")


# --- how a run fails --------------------------------------------------------------------------------


def commits(
    world: World, fault: Callable[[int], Any], *, gets: Callable[[int], Fault | None] = lambda _: None
) -> None:
    """Let commits (numbered from 0, the lease's) and reads meet a fault; it may also raise."""
    numbers = {"commit": -1, "get": -1}

    def plan(call: Call) -> Fault | None:
        if call.method not in numbers:
            return None
        numbers[call.method] += 1
        return (fault if call.method == "commit" else gets)(numbers["commit"])

    world.store = Seams(world.memory, plan)


def test_a_run_that_is_refused_records_why(world: World) -> None:
    """The error by its name, when it ended; the lease is free at once."""

    def refuse(number: int) -> None:
        if number == 2:
            raise Denied("no permission")

    commits(world, refuse)
    with pytest.raises(Denied):
        world.run("scan")
    (record,) = world.runs()
    reported = {name: record[name] for name in ("state", "error", "finished_at", "step")}
    assert reported == {"state": "failed", "error": "Denied: no permission", "finished_at": NOW, "step": 2}
    assert world.state()["lease"]["expires_at"] is None  # type: ignore[index]  # a map


def test_a_run_whose_last_reply_was_lost_fails_behind_the_step_that_landed(world: World) -> None:
    """It reads from its record how far it has come: else it would take that step for its farewell."""
    commits(
        world,
        lambda number: "reply lost" if number == 1 else None,
        gets=lambda number: "request lost" if number == 1 and next(unheard) else None,
    )
    unheard = iter([True] * (RETRY.attempts - 1) + [False] * 1000)
    with pytest.raises(Transient):
        world.run("scan")
    (record,) = world.runs()
    assert (record["state"], record["step"]) == ("failed", 2)
    assert world.state()["lease"]["expires_at"] is None  # type: ignore[index]  # a map


def test_a_step_that_lands_while_an_interrupted_run_says_that_it_failed_is_not_its_farewell(
    world: World,
) -> None:
    """Ctrl-C ends the wait for a commit, not the commit: without the step's name the lease stayed held."""
    interrupted: list[Sequence[Write]] = []

    def interrupt(call: Call) -> None:
        if call.method == "commit" and len(world.runs()) == 1 and not interrupted:
            interrupted.append(call.about)  # type: ignore[arg-type]  # a commit is about writes
            raise KeyboardInterrupt
        if call.method == "commit" and interrupted:
            late = interrupted.pop()
            interrupted.append(())
            if late:
                world.memory.commit(late, timeout=10)

    world.store = Seams(world.memory, interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.run("scan")
    (record,) = world.runs()
    assert (record["state"], record["step"], record["step_name"]) == ("failed", 2, "fail")
    assert world.state()["lease"]["expires_at"] is None  # type: ignore[index]  # a map


def deleting_the_record(world: World) -> Callable[[str], None]:
    """Somebody tidies the runs up while one is under way."""

    def delete(step: str) -> None:
        if step in {"process committed", "seal begun"}:
            gone = [each.path for each in world.memory.query(Query(world.home.runs))]
            world.memory.commit([Delete(path) for path in gone], timeout=10)

    return delete


def test_a_run_whose_record_is_gone_still_fails_for_its_own_reason(world: World) -> None:
    """What is raised is what went wrong, not that the farewell did not know its step."""

    def refuse(number: int) -> None:
        if number == 2:
            raise Denied("no permission")

    commits(world, refuse)
    with pytest.raises(Denied):
        world.run("scan", step=deleting_the_record(world))


def test_a_run_whose_record_is_gone_at_once_is_none(world: World) -> None:
    """Its watermark would have no commit time to come from."""

    def delete(call: Call) -> None:
        if call.method == "commit":
            deleting_the_record(world)("process committed")

    world.store = Seams(world.memory, after=delete)
    with pytest.raises(StateError, match=r"^aggregates_runs/\w+-\w+: the record of .* was deleted$"):
        world.run()


def test_a_read_is_tried_as_often_as_a_commit(world: World) -> None:
    """With pauses between, by the sleep that the caller gave."""
    tries = 0

    def down(call: Call) -> Fault | None:
        nonlocal tries
        tries += call.method == "get"
        return "request lost"

    world.store = Seams(world.memory, down)
    with pytest.raises(Transient):
        world.recompute().verify("scan")
    assert tries == RETRY.attempts


def test_the_counters_pause_by_the_sleep_that_was_given(world: World) -> None:
    """A simulation's clock, say."""
    slept: list[float] = []
    stumbling = iter([True])

    def stumble(call: Call) -> Fault | None:
        return "request lost" if call.method == "scan" and next(stumbling, False) else None

    world.store = Seams(world.memory, stumble)
    world.recompute(sleep=slept.append).verify("scan")
    assert len(slept) == 1


def test_every_step_is_tried_so_often_and_the_farewell_three_times(world: World) -> None:
    """A run that cannot write any more does not keep its caller for ever."""
    steps: list[str] = []
    commits(world, lambda number: "request lost" if number else None)
    with pytest.raises(Transient):
        world.run("scan", step=steps.append, lease=timedelta(hours=1))
    assert (steps.count("process begun"), steps.count("fail begun")) == (RETRY.attempts, 3)
    steps.clear()
    world.later(hours=2)
    commits(world, lambda _: "request lost")
    with pytest.raises(Transient):
        world.run("scan", step=steps.append)
    assert steps == ["acquire begun"] * RETRY.attempts


def stolen(world: World, lease: object) -> str:
    """What a run says that finds another lease in the state document, before it seals."""

    def steal(step: str) -> None:
        if step == "counted":
            world.merge(world.home.state, lease=lease)

    with pytest.raises(LeaseLost) as caught:
        world.run("scan", step=steal)
    assert "timestamp" not in world.state()
    return str(caught.value).partition(" ")[2]


def test_a_run_says_to_whom_it_lost_its_lease(world: World) -> None:
    """Another that is still at work, or nobody: it never takes the other's lease for its own."""
    other = {"run_id": "other", "token": 2, "expires_at": NOW + LEASE}
    assert stolen(world, other) == "lost its lease to other: it may write no more"
    world.later(hours=1)
    assert stolen(world, None) == "lost its lease (the state document holds none): it may write no more"


def test_a_run_whose_lease_was_taken_from_it_says_when_it_ran_out(world: World) -> None:
    """At once, where somebody released it by hand; the same run id and token do not help."""
    reported: list[str] = []

    def release(step: str) -> None:
        if step == "counted":
            lease = dict(world.state()["lease"])  # type: ignore[call-overload]  # a map
            world.merge(world.home.state, lease=lease | {"expires_at": NOW if reported else None})

    for end in ("once", NOW.isoformat()):
        with pytest.raises(LeaseLost) as caught:
            world.run("scan", step=release)
        reported.append(str(caught.value))
        assert reported[-1].endswith(f" ran out at {end}: it may write no more; run again")


def test_a_run_that_lost_its_lease_before_it_learned_of_it_says_so(world: World) -> None:
    """Its first reply was lost, and while it paused another run came and went: it has no lease to try for."""

    def pause(call: Call) -> None:
        if call.method == "commit" and not overtaking:
            world.later(minutes=5)
            overtaking.append(
                Recompute(world.memory, world.source, world.home, world.settings, clock=world.clock).run()
            )

    overtaking: list[Report] = []
    commits(world, lambda number: None if number else "reply lost")
    assert isinstance(world.store, Seams)
    world.store.after = pause
    with pytest.raises(LeaseLost, match="expired while the run was acquiring it; run again"):
        world.run("scan")
    assert [run["state"] for run in world.runs()] == ["failed", "completed"]
    converged(world.memory, world.source)


@pytest.mark.parametrize(("seconds", "renewed"), [(40, False), (40.000001, True)])
def test_a_lease_is_renewed_after_a_third_of_it(world: World, seconds: float, *, renewed: bool) -> None:
    """Not at every sign of life: that would be a write each."""
    steps: list[str] = []

    def slow(call: Call) -> Fault | None:
        world.later(seconds=seconds if call.method == "scan" else 0)
        return None

    world.store = Seams(world.memory, slow)
    world.run("scan", step=steps.append, lease=timedelta(minutes=2))
    assert ("renew committed" in steps) == renewed


# --- progress, dry runs, the log ----------------------------------------------------------------------


def test_progress_is_told_by_what_was_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries while they are counted, and again while totals are listed; then the totals corrected."""
    monkeypatch.setattr("shared.recompute.comparison.LISTED", 1)
    reported: list[tuple[str, int]] = []

    def progress(what: str, number: int) -> None:
        reported.append((what, number))

    world.recompute(progress=progress).verify("scan")
    assert reported == [("counted", 4)]
    reported.clear()
    world.run("scan", progress=progress)
    assert reported == [("counted", 4)] * 5 + [("corrected", 4)]


def test_a_dry_run_whose_snapshot_is_gone_says_what_to_do(world: World) -> None:
    """As a run does."""
    world.memory.history = timedelta(minutes=1)
    with pytest.raises(SnapshotTooOld, match=r"the snapshot at 2025-09-04T19:20:00.*--enable-pitr"):
        world.recompute().verify("scan")


@pytest.mark.parametrize(("sealed", "passes"), [(W, 1), (W + timedelta(minutes=10), 2)])
def test_a_dry_run_counts_again_only_if_buckets_were_closed_meanwhile(
    world: World, sealed: datetime, passes: int
) -> None:
    """What is sealed at the very watermark of a dry run is no reason; both passes are accounted for."""
    sealing = iter([True])

    def seal(call: Call) -> None:
        if call.method == "scan" and next(sealing, False):
            world.merge(world.home.state, timestamp=sealed)

    world.store = Seams(world.memory, after=seal)
    assert world.recompute().verify("scan").reads == passes * 11


def test_a_dry_run_takes_a_watermark_of_this_very_moment(world: World) -> None:
    """It lies not in the future."""
    world.merge(world.home.state, timestamp=NOW)
    report = world.recompute().verify("scan")
    assert (report.watermark, report.notes) == (NOW, ())


def test_a_run_is_logged_with_its_report(world: World, logged: list[logging.LogRecord]) -> None:
    """A warning if anything was found; corrections by number: there may be thousands."""
    report = world.run("scan")
    world.run("scan")
    world.merge(CATEGORY, recent={"junk": 1})
    noted = world.run("scan")
    assert (noted.drift, len(noted.notes)) == (0, 1)
    assert [(each.levelno, each.getMessage()) for each in logged] == [
        (logging.WARNING, "A recompute is completed"),
        (logging.INFO, "A recompute is completed"),
        (logging.WARNING, "A recompute is completed"),
    ]
    fields = {name: value for name, value in vars(logged[0]).items() if name.startswith("recompute_")}
    expected = report.as_json() | {"corrections": 4, "source": "libra"}
    assert fields == {f"recompute_{name}": value for name, value in expected.items()}


# --- what is written to totals ----------------------------------------------------------------------


def test_only_a_correction_is_an_update(world: World) -> None:
    """Buckets that are closed change nothing that a reader sees: ``updated_at`` stays."""

    def updated() -> object:
        return totals(world.memory, world.source)[CATEGORY].fields["updated_at"]

    before = updated()
    world.run("scan")
    corrected = updated()
    assert NOW <= corrected != before  # type: ignore[operator]  # instants
    ledger = world.ledger()
    ledger.apply(world.write("later"))
    counted = updated()
    world.later(minutes=30)
    assert world.run("scan").drift == 0
    assert totals(world.memory, world.source)[CATEGORY].fields["recent"] == {}
    assert updated() == counted


def damaged(world: World) -> None:
    """A total that increments cannot put right, and that has lost its key."""
    fields = totals(world.memory, world.source)[CATEGORY].fields
    world.memory.commit([Delete(CATEGORY)], timeout=10)
    world.merge(CATEGORY, count=3.5, recent=fields["recent"])


def test_a_rebuilt_total_has_its_key_and_its_time(world: World) -> None:
    """Nothing else would put them back."""
    damaged(world)
    world.run("scan")
    fields = totals(world.memory, world.source)[CATEGORY].fields
    assert (fields["count"], fields["key"], fields["recent"]) == (4, "Kettle Chips", {})
    assert fields["updated_at"] >= NOW  # type: ignore[operator]  # an instant


def test_an_event_that_lands_while_a_total_is_rebuilt_is_kept(world: World) -> None:
    """The rebuilt numbers are set, not added: they must not bury what a trigger adds at that moment."""
    damaged(world)
    arriving = iter([True])

    def arrive(step: str) -> None:
        if step == "rebuild begun" and next(arriving, False):
            world.ledger().apply(world.write("meanwhile"))

    world.run("scan", step=arrive)
    assert world.count(CATEGORY) == 5
    world.later(hours=1)
    world.run("scan")
    converged(world.memory, world.source)


def test_a_total_that_goes_while_it_is_to_be_rebuilt_is_made_anew(world: World) -> None:
    """Somebody deleted it by hand, which is no reason to fail."""
    damaged(world)

    def delete(step: str) -> None:
        if step == "correct committed":
            world.memory.commit([Delete(CATEGORY)], timeout=10)

    world.run("scan", step=delete)
    assert totals(world.memory, world.source)[CATEGORY].fields["key"] == "Kettle Chips"
    converged(world.memory, world.source)


SLASHES = "/" * 600
"""An ingredient whose id is a digest, so that only the stored key can tell it."""


def hashed(world: World) -> Document:
    return totals(world.memory, world.source)[world.home.total(Cell("aggregates_categories", SLASHES))]


def test_a_key_that_the_id_does_not_tell_is_written_with_the_total(world: World) -> None:
    """Made by the run, put back by the run, and put back with a total that is rebuilt."""
    world.write("odd", ingredient=SLASHES)
    world.later(minutes=30)
    world.run("scan")
    assert (hashed(world).fields["key"], hashed(world).fields["count"]) == (SLASHES, 1)
    for count in (1, 1.5):
        world.memory.commit([Merge(hashed(world).path, {("count",): count}, deletes=[("key",)])], timeout=10)
        world.run("scan")
        assert (hashed(world).fields["key"], hashed(world).fields["count"]) == (SLASHES, 1)


def test_totals_are_listed_so_many_at_a_time(world: World) -> None:
    """There may be more than fit in memory."""
    limits: set[int | None] = set()

    def asked(call: Call) -> Fault | None:
        if call.method == "query":
            (query,) = call.about
            assert isinstance(query, Query)
            if query.collection != world.home.archives:  # of these it wants the last
                limits.add(query.limit)
        return None

    world.store = Seams(world.memory, asked)
    world.recompute().verify("scan")
    assert limits == {LISTED}


def testbatches_keep_within_their_bounds() -> None:
    """So many documents, so many bytes, each to the last; and a large one alone."""

    def sizes(*given: int) -> list[list[int]]:
        corrections: Any = [SimpleNamespace(size=size) for size in given]
        return [[each.size for each in batch] for batch in batches(corrections)]

    half, third = BATCH_BYTES // 2, BATCH_BYTES // 4
    assert sizes() == []
    assert sizes(half, half, half, half, 1) == [[half, half], [half, half], [1]]
    assert sizes(third, third, half, third) == [[third, third, half], [third]]
    assert sizes(half, half + 1, 1) == [[half], [half + 1, 1]]
    assert sizes(2 * BATCH_BYTES, 1) == [[2 * BATCH_BYTES], [1]]
    assert [len(batch) for batch in sizes(*[1] * (2 * BATCH_DOCUMENTS + 1))] == [
        BATCH_DOCUMENTS,
        BATCH_DOCUMENTS,
        1,
    ]


def test_a_record_holds_the_corrections_that_change_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the largest totals, and no more notes than there is room for."""
    monkeypatch.setattr("shared.recompute.report.RECORDED", 2)
    changes = [
        Corrected("a", "count", 1000, 1001),
        Corrected("b", "count", 0, 5),
        Corrected("c", "count", 9, 0),
    ]
    report = Report("r", W, "scan", "asked for", 0, 3, 15, tuple(changes), 0, 0, 0.0, ("x", "y", "z"))
    record = completed(report, NOW)
    assert record["corrections"] == [asdict(changes[2]), asdict(changes[1])]
    assert (record["corrected"], record["notes"]) == (3, ["x", "y"])
