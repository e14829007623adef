"""What the windows say of a total never contradicts the entries, whatever was lost, archived or killed."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import LeaseHeld
from shared.recompute import STEPS
from shared.windows import freshness, proof, total, totals
from tests.properties.test_retain import History, operation
from tests.support.recomputing import Died, dying_at
from tests.support.truth import Truth

BEGUN: list[tuple[object, ...]] = [("serve", True), ("serve", False), ("later", 900), ("run",)]
"""What a history begins with: something is proven."""

TOLD = ("seal committed", "correct committed", "complete begun")
"""Steps of a run after which its totals are sealed, and not all of them corrected, or not yet proven."""

writing = st.one_of(
    st.tuples(st.sampled_from(["serve", "lose"]), st.booleans()),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("deliver")),
    operation,
)
waiting = st.tuples(st.just("later"), st.sampled_from([200, 400, 900]))
proving = st.one_of(
    st.tuples(st.just("dying_run"), st.sampled_from(TOLD)),
    st.tuples(st.just("dying_run"), st.sampled_from(STEPS)),
    st.tuples(st.just("run")),
    operation,
)
rounds = st.tuples(st.lists(writing, max_size=3), waiting, proving).map(lambda one: [*one[0], *one[1:]])
histories = st.lists(rounds, max_size=6).map(lambda each: [operation for one in each for operation in one])


class Watched(History):
    """A history in which runs die, too, and in which somebody looks after each operation."""

    def dying_run(self, step: str) -> None:
        """A recompute that is killed at a step, unless another run holds the lease."""
        world = self.kept.world
        alive = world.store
        try:
            world.recompute(step=dying_at(world, step)).run("scan")
        except (Died, LeaseHeld):
            pass
        finally:
            world.store = alive

    def true(self) -> None:
        """Every total, in a page and by itself, and every key that no total is stored of."""
        world = self.kept.world
        now = proof(world.store, world.source, world.home)
        fresh = freshness(world.store, world.source, world.home)
        assert fresh.proof == now
        if now.watermark is None:
            return
        assert now.watermark <= now.at
        sealed = [each["watermark"] for each in world.runs() if isinstance(each.get("watermark"), datetime)]
        truth = Truth(cache(self.kept.true_at), sealed)  # type: ignore[arg-type]  # they are
        for each in world.source.aggregations:
            page = totals(world.store, world.source, world.home, each.name, proven=now, limit=1_000)
            assert page.after is None
            truth.lists(each.name, now.watermark, page.items)
            for one in page.items:
                assert one.settled == (now.sealed == now.watermark)
                assert isinstance(one.key, str | int)
                again = total(world.store, world.source, world.home, each.name, str(one.key), proven=now)
                assert again == one
            assert fresh.pending[each.name] == sum(one.pending["count"] for one in page.items)


def watch(operations: Sequence[tuple[object, ...]]) -> None:
    history = Watched()
    for name, *arguments in [*BEGUN, *operations]:
        history.do(str(name), *arguments)
        history.true()


CORRECTED_BY_ONE_SEALED_BY_ANOTHER: list[tuple[object, ...]] = [
    *(("lose", True), ("later", 900), ("dying_run", "correct committed")),
    *(("serve", True), ("later", 900), ("dying_run", "seal committed")),
]


@example(CORRECTED_BY_ONE_SEALED_BY_ANOTHER)
@settings(max_examples=150, deadline=None)
@given(histories)
def test_an_answer_never_contradicts_the_entries(operations: Sequence[tuple[object, ...]]) -> None:
    """After each operation: lost and late events, edits, deletions, runs and archives that die anywhere."""
    watch(operations)
