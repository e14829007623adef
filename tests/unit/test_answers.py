"""What a caller of the recompute may say, and what is answered."""

import logging
from collections.abc import Callable
from typing import cast

import pytest

from answers import Options, answer, parse
from shared.catalog import sources
from shared.errors import Denied, LeaseHeld, LibraError, MassLoss, StrategyUnsupported, Transient
from shared.recompute import Recompute, Report
from shared.store import Query
from tests.support.recomputing import BEGIN, World


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b"", Options()),
        (b"{}", Options()),
        (b'{"dry_run": true}', Options(dry_run=True)),
        (b' {"strategy": "index", "dry_run": false} ', Options(strategy="index")),
        (b'{"accept_loss": true}', Options(accept_loss=True)),
        (b'{"compact": true}', Options(compact=True)),
        (b'{"compact": false, "dry_run": true}', Options(dry_run=True)),
        (b'{"source": "signals"}', Options(source="signals")),
    ],
)
def test_every_option_may_be_left_out(body: bytes, options: Options) -> None:
    """Cloud Scheduler may send nothing at all."""
    assert parse(body) == options


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 5_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"dry_run": 1}', "dry_run: expected true or false, found 1"),
        (
            b'{"dryrun": true}',
            "unknown options ['dryrun']: expected dry_run, strategy, accept_loss, compact and source",
        ),
        (b'{"accept_loss": "yes"}', "accept_loss: expected true or false, found 'yes'"),
        (b'{"accept_loss": null}', "accept_loss: expected true or false, found None"),
        (b'{"compact": 1}', "compact: expected true or false, found 1"),
        (b'{"compact": true, "dry_run": true}', "compact: it goes with source and no other option"),
        (b'{"strategy": "fast"}', "strategy: expected one of auto, index, scan, beam, found 'fast'"),
        (b'{"strategy": ["scan"]}', "found ['scan']"),
        (b'{"source": null}', "source: expected the name of a source, found None"),
        (b'{"source": ""}', "source: expected one of libra, found ''"),
        (b'{"source": "Libra"}', "source: expected one of libra, found 'Libra'"),
        (b" " * 10_001, "more than 10000 bytes"),
    ],
)
def test_what_can_not_be_used_is_named(body: bytes, says: str) -> None:
    """400, with what was found and what is allowed; nothing runs."""
    reply, status = answer(body, lambda: {"libra": never})
    assert (status, reply["error"], says in str(reply["reason"])) == (400, "BadRequest", True)


def test_a_compaction_is_answered_with_what_it_did() -> None:
    """Cloud Scheduler asks the recompute for it every hour."""
    _, recomputes = catalog()
    reply, status = answer(b'{"compact": true}', recomputes)
    assert (status, reply["writes"], reply["left"]) == (200, 0, 0)
    sources = reply["sources"]
    assert isinstance(sources, dict)
    assert sources["signals"] == {"until": None, "reads": 0, "writes": 0, "left": 0, "unproven_seconds": None}
    assert "sources" not in answer(b'{"compact": true, "source": "libra"}', recomputes)[0]


def test_beam_is_refused_where_nothing_can_start_it() -> None:
    """400 with what to run instead, before a lease is taken: the function has nothing of Beam."""
    world, recomputes = catalog()
    for body in (b'{"strategy": "beam"}', b'{"strategy": "beam", "dry_run": true, "source": "libra"}'):
        reply, status = answer(body, recomputes)
        assert (status, reply["error"]) == (400, "StrategyUnsupported")
        assert "Cloud Run job libra-recompute-beam" in str(reply["reason"])
    assert world.runs() == []


class Failing:
    """A recompute that fails."""

    def __init__(self, error: LibraError) -> None:
        self.error = error

    def run(self, _: str, **__: object) -> Report:
        """Fail."""
        raise self.error


class Unused(Recompute):
    """A recompute that is not to run."""

    def __init__(self) -> None:
        pass


never = Unused()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LeaseHeld("run-1", BEGIN), 409),
        (StrategyUnsupported("no index"), 400),
        (Denied("no permission"), 500),
        (MassLoss("too much"), 500),
        (Transient("no answer"), 500),
    ],
)
def test_failures_have_their_status_and_say_why(error: LibraError, status: int) -> None:
    """409 while another run holds the lease, 400 for what was asked wrongly, 500 for the rest."""
    failing = cast(Recompute, Failing(error))
    for body in (b"{}", b'{"source": "libra"}'):
        reply, found = answer(body, lambda: {"libra": failing})
        reply.pop("sources", None)
        assert (found, reply) == (status, {"error": type(error).__name__, "reason": str(error)})


def one_source(world: World) -> Callable[[], dict[str, Recompute]]:
    """A catalog of one source."""
    return lambda: {"libra": world.recompute()}


def test_a_run_and_a_dry_run_answer_their_report() -> None:
    """200 and the same keys; only the first leaves a record."""
    world = World()
    dry, status = answer(b'{"dry_run": true}', one_source(world))
    assert (status, dry["run_id"], world.runs()) == (200, None, [])
    reply, status = answer(b"", one_source(world))
    assert (status, reply.keys(), len(world.runs())) == (200, dry.keys(), 1)


def test_a_loss_is_refused_and_logged_until_it_is_accepted(logged: list[logging.LogRecord]) -> None:
    """500, and a line at ERROR whose field `error` an alert matches; then 200, and what was accepted."""
    world = World()
    world.merge("aggregates_categories/Gone", count=2_000)
    reply, status = answer(b"{}", one_source(world))
    assert (status, reply["error"]) == (500, "MassLoss")
    assert [vars(line)["error"] for line in logged if line.levelno >= logging.ERROR] == ["MassLoss"]
    dry, status = answer(b'{"dry_run": true}', one_source(world))
    lost = [{"aggregation": "aggregates_categories", "stored": 2_000, "exact": 0}]
    assert (status, dry["losses"], world.count("aggregates_categories/Gone")) == (200, lost, 2_000)
    done, status = answer(b'{"accept_loss": true}', one_source(world))
    assert (status, done["losses"], world.count("aggregates_categories/Gone")) == (200, lost, 0)


def catalog() -> tuple[World, Callable[[], dict[str, Recompute]]]:
    """Every source of the catalog in one database."""
    world = World()

    def recomputes() -> dict[str, Recompute]:
        return {
            name: Recompute(world.store, *books, world.settings, clock=world.clock, sleep=world.clock.sleep)
            for name, books in sources(world.settings).items()
        }

    return world, recomputes


def test_without_a_name_every_source_is_run() -> None:
    """The report is that of `libra`, as it always was; the others stand in it by their names."""
    world, recomputes = catalog()
    reply, status = answer(b"", recomputes)
    others = reply.pop("sources")
    assert isinstance(others, dict)
    alone, _ = answer(b'{"source": "libra"}', recomputes)
    assert (status, reply.keys(), list(others)) == (200, alone.keys(), ["user_events", "signals"])
    assert [others[name]["drift"] for name in others] == [0, 0]
    for name, books in sources(world.settings).items():
        assert len(list(world.store.query(Query(books.home.runs)))) == (2 if name == "libra" else 1)


def test_a_source_that_is_named_is_run_alone() -> None:
    """Its report and nothing else; each option is about it."""
    world, recomputes = catalog()
    world.run()  # so that the aggregations of the source below are no longer new
    world.merge("signals_aggregates/Gone", count=2_000)
    reply, status = answer(b'{"source": "signals"}', recomputes)
    assert (status, reply["error"]) == (500, "MassLoss")
    reply, status = answer(b'{"source": "signals", "accept_loss": true}', recomputes)
    assert (status, reply["drift"], "sources" in reply) == (200, 2_000, False)
    assert len(world.runs()) == 1


def test_a_failure_of_one_source_hides_no_result_of_another() -> None:
    """The report of `libra` stays, with the error of the other; and a failure of `libra` keeps theirs."""
    world, recomputes = catalog()
    world.merge("signals_aggregates/Gone", count=2_000)
    reply, status = answer(b'{"accept_loss": true, "strategy": "index"}', recomputes)
    others = reply["sources"]
    assert isinstance(others, dict)
    assert (status, reply["drift"], reply["strategy"], reply["error"]) == (500, 0, "index", "MassLoss")
    assert str(reply["reason"]).startswith("signals: this run would take away more")
    assert (others["user_events"]["drift"], others["signals"]["error"]) == (0, "MassLoss")
    world.merge("aggregates_categories/Gone", count=2_000)
    world.merge("signals_aggregates/Gone", count=0)
    reply, status = answer(b"", recomputes)
    others = reply["sources"]
    assert isinstance(others, dict)
    assert (status, reply["error"], others["signals"]["drift"]) == (500, "MassLoss", 0)
    assert str(reply["reason"]).startswith("this run would take away more")
