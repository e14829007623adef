"""Law *retain* as a property: whatever is written, lost, edited, deleted, archived, killed, in any order."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aggregation import Entry
from shared.archive import STEPS, Archive, pages
from shared.errors import ArchiveError, LeaseHeld
from shared.settings import Settings
from shared.store import Delete
from shared.watermark import choose_watermark, stored_watermark
from tests.support.archiving import Kept
from tests.support.recomputing import Died, World, dying_at

OLD, YOUNG = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 9, 4, tzinfo=UTC)
QUICK = Settings(lag=timedelta(minutes=6), bucket=timedelta(seconds=1), test=True)
PAGE = 2

numbers = st.integers(0, 9)
operation = st.one_of(
    st.tuples(st.just("serve"), st.booleans()),
    st.tuples(st.just("serve"), st.booleans()),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("edit"), numbers),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("later"), st.sampled_from([1, 30, 90, 200, 400, 900])),
    st.tuples(st.just("later"), st.sampled_from([1, 30, 90, 200, 400, 900])),
    st.tuples(st.just("run")),
    st.tuples(st.just("run")),
    st.tuples(st.just("archive"), st.none()),
    st.tuples(st.just("archive"), st.none()),
    st.tuples(st.just("archive"), st.sampled_from(STEPS)),
)


@dataclass
class History:
    """A history of one source, and what must hold after each of its operations."""

    kept: Kept = field(default_factory=lambda: Kept(World(QUICK)))
    entries: list[Entry] = field(default_factory=list)
    undelivered: list[Entry] = field(default_factory=list)

    def do(self, name: str, *arguments: object) -> None:
        """One operation."""
        getattr(self, name)(*arguments)

    def serve(self, old: bool) -> None:
        """An entry is written and counted."""
        self.lose(old)
        self.deliver()

    def lose(self, old: bool) -> None:
        """An entry is written; its event may come later, or never."""
        number = len(self.entries)
        entry = self.kept.world.write(
            f"e{number}", timestamp=OLD if old else YOUNG, ingredient=f"i{number % 2}"
        )
        self.entries.append(entry)
        self.undelivered.append(entry)

    def deliver(self) -> None:
        """Every event that has not come yet comes, and the last one again."""
        ledger = self.kept.world.ledger()
        for entry in [*self.undelivered, *self.undelivered[-1:]]:
            ledger.apply(entry)
        self.undelivered.clear()

    def edit(self, number: int) -> None:
        """An entry is edited."""
        living = {each.path for each in self.kept.living()}
        if f"libra/e{number}" in living:
            self.kept.world.merge(f"libra/e{number}", ingredient="edited")

    def delete(self, number: int) -> None:
        """An entry is deleted, if it lives."""
        self.kept.world.memory.commit([Delete(f"libra/e{number}")], timeout=10)

    def later(self, seconds: int) -> None:
        """Time passes."""
        self.kept.world.later(seconds=seconds)

    def run(self) -> None:
        """A recompute, unless an archive that died still holds the lease."""
        try:
            self.kept.world.run("scan")
        except LeaseHeld:
            self.later(120)

    def archive(self, step: str | None) -> None:
        """An archive of the old entries; it may die at a step, and there may be nothing sealed."""
        world = self.kept.world
        alive = world.store
        try:
            hook = dying_at(world, step) if step else lambda _: None
            Archive(
                world.store,
                world.source,
                world.home,
                self.kept.shelf,
                clock=world.clock,
                sleep=world.clock.sleep,
                step=hook,
            ).run(YOUNG)
        except (ArchiveError, LeaseHeld, Died):
            pass
        finally:
            world.store = alive

    def check(self) -> None:
        """Every total says what is true at the last run's watermark, and a dry run finds what is true."""
        world = self.kept.world
        living, filed = ({each.path for each in found} for found in (self.kept.living(), self.kept.filed()))
        assert not living & filed
        sealed = stored_watermark(world.state())
        if sealed is None:
            return
        assert self.kept.said_at(sealed) == self.kept.true_at(sealed)
        watermark = max(sealed, choose_watermark(world.clock.now, QUICK.lag, QUICK.bucket))
        said, true = self.kept.said_at(watermark), self.kept.true_at(watermark)
        report = world.recompute().verify("scan")
        assert report.watermark == watermark
        assert {each.document: (each.stored, each.exact) for each in report.corrections} == {
            path: (said.get(path, 0), true.get(path, 0))
            for path in said.keys() | true.keys()
            if said.get(path, 0) != true.get(path, 0)
        }


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> object:
    """Two entries a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_ENTRIES", PAGE)
        yield


@settings(max_examples=300, deadline=None)
@given(st.lists(operation, max_size=24))
def test_every_total_is_what_lives_and_what_was_archived(operations: list[tuple[object, ...]]) -> None:
    """After every operation, at the watermark of the last run and at the one of a dry run."""
    history = History()
    for name, *arguments in operations:
        history.do(str(name), *arguments)
        history.check()
    history.deliver()
    history.later(900)
    history.run()
    history.later(900)
    history.run()
    history.check()
    assert history.kept.world.run("scan").drift == 0
