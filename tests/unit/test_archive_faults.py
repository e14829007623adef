"""The archive over the in-memory store, while something goes wrong: the law *retain* holds at every step."""

from collections.abc import Callable
from itertools import count

import pytest

from shared.archive import STEPS, pages
from shared.errors import ArchiveError, Denied, Invalid, LeaseHeld, LeaseLost, Transient
from shared.recompute import LEASE
from shared.store import Delete, Merge, Write
from tests.support.archiving import sealed
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import Died, dying_at


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries a page: a few entries are several pages."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", 2)


# --- what goes wrong ------------------------------------------------------------------------------


def failing_at(step: str) -> Callable[[str], None]:
    """A hook in which the archive fails once its file is there, if it is to die while it fails."""

    def hook(reported: str) -> None:
        if reported == "file verified" and step.startswith("fail"):
            raise Denied("no permission")

    return hook


@pytest.mark.parametrize("step", STEPS)
def test_an_archive_that_died_is_gone_on_with(step: str) -> None:
    """kill -9 at any step: the law holds, and the next archive moves the rest."""
    kept = sealed(5)
    world, alive = kept.world, kept.world.store
    dies, fails = dying_at(world, step), failing_at(step)

    def hook(reported: str) -> None:
        if reported == "manifest begun":
            world.later(seconds=LEASE.total_seconds() / 2)  # so that the lease is renewed
        dies(reported)
        fails(reported)

    with pytest.raises(Died):
        kept.run(step=hook)
    world.store = alive
    kept.retained()
    world.later(minutes=5)
    kept.run()
    assert kept.living() == []
    assert {name for name in kept.shelf.files if name.endswith(".gz")} >= {
        str(record.fields["file"]) for record in kept.records()
    }
    kept.retained()
    world.later(hours=1)
    assert world.run().drift == 0


def commits(fault: Fault, number: int) -> Callable[[Call], Fault | None]:
    """A plan in which something happens to one commit."""
    seen = count(1)
    return lambda call: fault if call.method == "commit" and next(seen) == number else None


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("fault", ["request lost", "reply lost", "contention"])
def test_a_commit_that_fails_or_whose_reply_is_lost_lands_once(fault: Fault, number: int) -> None:
    """Each of an archive's commits: the lease, the beginning, three pages, the end."""
    kept = sealed(5)
    seams = Seams(kept.world.memory, commits(fault, number))
    kept.world.store = seams
    report = kept.run(step=lambda _: None)
    assert (report.moved.entries, kept.living()) == (5, [])
    assert sum(seams.injected.values()) == (number < 7)
    kept.retained()


def test_a_commit_that_lands_after_it_was_given_up_names_the_file_that_is_there() -> None:
    """Its page is prepared again, differently, under another name: what lands first wins whole."""
    kept = sealed(2)
    late: list[list[Write]] = []

    def slow(call: Call) -> Fault | None:
        deletes = [write for write in call.about if isinstance(write, Delete)]
        if call.method == "commit" and deletes and not late:
            late.append(list(call.about))  # type: ignore[arg-type]  # the writes
            raise Transient("no answer")
        if call.method == "commit" and deletes and len(late) == 1:
            late.append([])
            kept.world.memory.commit(late[0], timeout=10)  # now, of all times
        return None

    kept.world.store = Seams(kept.world.memory, slow)
    report = kept.run()
    assert (report.moved.entries, report.moved.pages) == (2, 1)
    kept.retained()


@pytest.mark.parametrize("change", ["edited", "deleted", "recreated"])
@pytest.mark.parametrize("every", [False, True])
def test_what_changes_between_read_and_commit_stays(change: str, every: bool) -> None:
    """One entry of a page, or all of them: the others are moved, with a file that holds them alone."""
    kept = sealed(3)
    world = kept.world
    changed = [f"libra/e{number}" for number in (range(3) if every else [1])]
    done: list[bool] = []

    def meddle(step: str) -> None:
        if step != "file verified" or done:
            return
        done.append(True)
        for path in changed:
            if change == "edited":
                world.merge(path, location="elsewhere")
                continue
            world.memory.commit([Delete(path)], timeout=10)
            if change == "recreated":
                world.write(path.partition("/")[2])

    report = kept.run(step=meddle)
    assert (report.moved.entries, report.moved.changed) == ((0, 3) if every else (2, 1))
    assert {each.path for each in kept.living()} == (set() if change == "deleted" else set(changed))
    world.later(hours=1)
    world.run()
    kept.retained()
    report = kept.run()
    assert kept.living() == []
    kept.retained()


def test_a_page_that_is_too_much_is_halved() -> None:
    """Firestore may refuse what an entry's indexes make large."""
    kept = sealed(5)

    def refuse(call: Call) -> None:
        if call.method == "commit" and sum(isinstance(write, Delete) for write in call.about) > 1:
            raise Invalid("Transaction too big")

    kept.world.store = Seams(kept.world.memory, refuse)
    assert kept.run().moved.pages == 5
    kept.retained()


def test_an_entry_that_alone_is_refused_ends_the_archive() -> None:
    """It says why, and releases the lease."""
    kept = sealed(1)

    def refuse(call: Call) -> None:
        if call.method == "commit" and any(isinstance(write, Delete) for write in call.about):
            raise Invalid("Transaction too big")

    kept.world.store = Seams(kept.world.memory, refuse)
    with pytest.raises(Invalid):
        kept.run()
    assert kept.world.runs()[-1]["error"] == "Invalid: Transaction too big"
    kept.retained()


def test_a_file_that_does_not_read_back_as_written_moves_nothing() -> None:
    """A disk that lies, a bucket that truncates: the entries stay."""
    kept = sealed(2)
    read = kept.shelf.read
    kept.shelf.read = lambda name: (read(name) or b"")[:-1]  # type: ignore[method-assign]  # that is the damage
    with pytest.raises(ArchiveError, match="the file is damaged"):
        kept.run()
    assert len(kept.living()) == 2
    kept.retained()


# --- who may run ----------------------------------------------------------------------------------


def test_no_run_and_no_other_archive_while_one_is_under_way() -> None:
    """One lease for both."""
    kept = sealed(3)
    refused: list[str] = []

    def others(step: str) -> None:
        if step == "page begun":
            for other in (kept.world.run, kept.run):
                with pytest.raises(LeaseHeld) as held:
                    other()
                refused.append(held.value.run_id)

    report = kept.run(step=others)
    assert set(refused) == {report.run_id}
    kept.retained()


def test_no_archive_while_a_run_is_under_way() -> None:
    """The other way round."""
    kept = sealed(3)
    refused: list[str] = []

    def archive(step: str) -> None:
        if step == "counted":
            with pytest.raises(LeaseHeld) as held:
                kept.run()
            refused.append(held.value.run_id)

    report = kept.world.run(step=archive)
    assert refused == [report.run_id]
    assert len(kept.living()) == 3


@pytest.mark.parametrize("step", ["file begun", "file verified", "page begun", "page committed"])
@pytest.mark.parametrize("other", ["run", "archive"])
def test_an_archive_that_was_overtaken_moves_nothing_more(step: str, other: str) -> None:
    """It pauses until its lease is over and another run or archive has ended; then its own commits fail."""
    kept = sealed(5)
    once: list[bool] = []

    def overtaken(reported: str) -> None:
        if reported == step and not once:
            once.append(True)
            kept.world.later(minutes=10)
            kept.world.run() if other == "run" else kept.run()

    with pytest.raises(LeaseLost):
        kept.run(step=overtaken)
    kept.retained()
    fence = kept.world.run()
    assert fence.drift == 0


def test_an_archive_is_a_run_among_the_runs() -> None:
    """`libra status` shows it; a recompute that died is marked by it, and it by a recompute."""
    kept = sealed(3)
    report = kept.run()
    record = kept.world.runs()[-1]
    assert (record["state"], record["strategy"], record["entries"]) == ("completed", "archive", 3)
    assert "watermark" not in record
    assert report.run_id


def test_page_numbers_go_on_where_any_archive_ended() -> None:
    """Also if the state document was removed, or records were."""
    kept = sealed(3)
    kept.run()
    kept.world.memory.commit([Merge(kept.world.home.state, {}, deletes=[("archived_page",)])], timeout=10)
    kept.world.serve(1, "more")
    kept.world.later(minutes=30)
    kept.world.run()
    kept.run()
    assert [record.fields["page"] for record in kept.records()] == [1, 2, 3]
    kept.retained()
