"""What a caller of the recompute may say, and what is answered."""

import logging
from typing import cast

import pytest

from answers import Options, answer, parse
from shared.errors import Denied, LeaseHeld, LibraError, MassLoss, StrategyUnsupported, Transient
from shared.recompute import Recompute
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
        (b'{"dryrun": true}', "unknown options ['dryrun']: expected dry_run, strategy, accept_loss and"),
        (b'{"accept_loss": "yes"}', "accept_loss: expected true or false, found 'yes'"),
        (b'{"accept_loss": null}', "accept_loss: expected true or false, found None"),
        (b'{"compact": 1}', "compact: expected true or false, found 1"),
        (b'{"compact": true, "dry_run": true}', "compact: it goes with no other option"),
        (b'{"strategy": "fast"}', "strategy: expected one of auto, index, scan, found 'fast'"),
        (b'{"strategy": ["scan"]}', "found ['scan']"),
        (b" " * 10_001, "more than 10000 bytes"),
    ],
)
def test_what_can_not_be_used_is_named(body: bytes, says: str) -> None:
    """400, with what was found and what is allowed; nothing runs."""
    reply, status = answer(body, never)
    assert (status, reply["error"], says in str(reply["reason"])) == (400, "BadRequest", True)


def test_a_compaction_is_answered_with_what_it_did() -> None:
    """Cloud Scheduler asks the recompute for it every hour."""
    world = World()
    world.serve(1)
    reply, status = answer(b'{"compact": true}', world.recompute)
    assert (status, reply["reads"], reply["writes"], reply["left"]) == (200, 5, 0, 0)


def never() -> Recompute:
    """Nothing is to be run."""
    raise AssertionError


class Failing:
    """A recompute that fails."""

    def __init__(self, error: LibraError) -> None:
        self.error = error

    def run(self, _: str, **__: object) -> None:
        """Fail."""
        raise self.error


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
    reply, found = answer(b"{}", lambda: cast(Recompute, Failing(error)))
    assert (found, reply) == (status, {"error": type(error).__name__, "reason": str(error)})


def test_a_run_and_a_dry_run_answer_their_report() -> None:
    """200 and the same keys; only the first leaves a record."""
    world = World()
    dry, status = answer(b'{"dry_run": true}', world.recompute)
    assert (status, dry["run_id"], world.runs()) == (200, None, [])
    reply, status = answer(b"", world.recompute)
    assert (status, reply.keys(), len(world.runs())) == (200, dry.keys(), 1)


def test_a_loss_is_refused_and_logged_until_it_is_accepted(logged: list[logging.LogRecord]) -> None:
    """500, and a line at ERROR whose field `error` an alert matches; then 200, and what was accepted."""
    world = World()
    world.merge("aggregates_categories/Gone", count=2_000)
    reply, status = answer(b"{}", world.recompute)
    assert (status, reply["error"]) == (500, "MassLoss")
    assert [vars(line)["error"] for line in logged if line.levelno >= logging.ERROR] == ["MassLoss"]
    dry, status = answer(b'{"dry_run": true}', world.recompute)
    lost = [{"aggregation": "aggregates_categories", "stored": 2_000, "exact": 0}]
    assert (status, dry["losses"], world.count("aggregates_categories/Gone")) == (200, lost, 2_000)
    done, status = answer(b'{"accept_loss": true}', world.recompute)
    assert (status, done["losses"], world.count("aggregates_categories/Gone")) == (200, lost, 0)
