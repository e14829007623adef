"""The filters in `deploy/monitoring/metrics` match lines that the real code logs."""

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData
from starlette.exceptions import HTTPException

import main
from answers import answer
from deploy import monitored
from deploy.parameters import read
from events import CREATED
from shared.aggregation import Entry, Version
from shared.errors import Denied, Invalid
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.runtime import Runtime
from shared.store import Create, Delete
from shared.store.values import encode_fields, raw
from tests.deploy.conftest import ROOT
from tests.support.log_filter import UnknownFilterError, counting, matches
from tests.support.memory_seams import Call, Seams
from tests.support.recomputing import World

VALUES = read(
    {},
    {"GOOGLE_CLOUD_PROJECT": "kitchen-1", "LIBRA_USAGE": "on", "LIBRA_INGESTION": "on"},
    ROOT / "none.env",
)
METRICS = monitored.metrics(VALUES)
TRIGGER, RECOMPUTE = "libra-on-created", "libra-recompute"

Happening = Callable[[World, pytest.MonkeyPatch], None]


def deliver(world: World, entry: Entry, monkeypatch: pytest.MonkeyPatch, kind: str = "libra") -> None:
    """The deployed entry point takes the event of a creation, over the world's store."""
    ledger = Ledger(
        world.store, world.source, world.home, world.settings, clock=world.clock, sleep=world.clock.sleep
    )
    runtime: Any = Runtime(
        world.settings,
        world.source,
        world.home,
        world.store,  # type: ignore[arg-type]  # in memory
        ledger,
        recomputes(world)(),
    )
    monkeypatch.setattr(main.process, "runtime", lambda: runtime)
    data = raw(DocumentEventData)()
    data.value.name = entry.path.replace("/documents/libra/", f"/documents/{kind}/")
    data.value.create_time.FromDatetime(entry.time)
    encode_fields(data.value.fields, dict(entry.fields))
    event = CloudEvent({"type": CREATED, "source": "//firestore", "id": "event-1"}, data.SerializeToString())
    asyncio.run(main._take(event, CREATED))


def recomputes(world: World) -> Callable[[], dict[str, Recompute]]:
    """What the deployed recompute runs, over the world's store."""
    return lambda: {world.source.name: world.recompute()}


def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is counted, and nothing is wrong."""
    deliver(world, world.write("e"), monkeypatch)


def redelivered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firestore denies a commit."""

    def denied(call: Call) -> None:
        if call.method == "commit":
            raise Denied("no permission")

    entry = world.write("e")
    world.store = Seams(world.memory, denied)
    with pytest.raises(HTTPException) as caught:
        deliver(world, entry, monkeypatch)
    assert caught.value.status_code == 503


def rejected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry has no ingredient."""
    deliver(world, world.write("e", ingredient=...), monkeypatch)


def malformed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger on another collection calls."""
    deliver(world, world.write("e"), monkeypatch, kind="orders")


def refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firestore takes no commit that has the entry's marker."""

    def invalid(call: Call) -> None:
        creates = [write for write in call.about if isinstance(write, Create)]
        if call.method == "commit" and any(it.path.startswith(world.home.seen) for it in creates):
            raise Invalid("increments overflow")

    entry = world.write("e")
    world.store = Seams(world.memory, invalid)
    deliver(world, entry, monkeypatch)


def completed(world: World, _: pytest.MonkeyPatch) -> None:
    """The nightly call, with nothing to correct."""
    world.serve(3)
    world.later(minutes=30)
    assert answer(b"{}", recomputes(world))[1] == 200


def drifted(world: World, _: pytest.MonkeyPatch) -> None:
    """An event was lost."""
    world.serve(3)
    world.write("lost")
    world.later(minutes=30)
    assert answer(b"{}", recomputes(world))[1] == 200


def failed(world: World, _: pytest.MonkeyPatch) -> None:
    """Firestore denies the recompute."""

    def denied(_: Call) -> None:
        raise Denied("no permission")

    world.store = Seams(world.memory, denied)
    assert answer(b"{}", recomputes(world))[1] == 500


def lost(world: World, _: pytest.MonkeyPatch) -> None:
    """A total says far more than there is."""
    world.serve(3)
    world.later(minutes=30)
    world.merge("aggregates_actions/Gone", count=2_000)
    assert answer(b"{}", recomputes(world))[1] == 500


def purged(world: World, _: pytest.MonkeyPatch) -> None:
    """Most entries are deleted, and the triggers follow."""
    entries = world.serve(1_200)
    world.later(minutes=30)
    assert answer(b'{"strategy": "scan"}', recomputes(world))[1] == 200
    gone = [Entry.deleted(it.path, Version(it.time, it.fields)) for it in entries[:1_100]]
    for entry in gone:
        world.memory.commit([Delete(world.memory.path(entry.path))], timeout=10)
    ledger = world.ledger()
    for entry in gone:
        ledger.apply(entry)
    world.later(minutes=30)
    assert answer(b'{"strategy": "scan"}', recomputes(world))[1] == 200


def compacted(world: World, _: pytest.MonkeyPatch) -> None:
    """The hourly call."""
    assert answer(b'{"compact": true}', recomputes(world))[1] == 200


def proven_today(world: World, monkeypatch: pytest.MonkeyPatch, hours: float = 25.4) -> None:
    """The last run's watermark is about ten minutes older than the run."""
    completed(world, monkeypatch)
    world.later(hours=hours)
    compacted(world, monkeypatch)


def unproven(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run for more than a day."""
    proven_today(world, monkeypatch, hours=26)


MATCHED: dict[Happening, tuple[str, set[str]]] = {
    counted: (TRIGGER, set()),
    redelivered: (TRIGGER, {"libra-redeliveries"}),
    rejected: (TRIGGER, {"libra-rejections"}),
    malformed: (TRIGGER, {"libra-malformed"}),
    refused: (TRIGGER, {"libra-refused"}),
    completed: (RECOMPUTE, {"libra-recompute-completed"}),
    drifted: (RECOMPUTE, {"libra-recompute-completed", "libra-recompute-drift"}),
    failed: (RECOMPUTE, {"libra-recompute-failed"}),
    lost: (RECOMPUTE, {"libra-recompute-failed", "libra-mass-loss"}),
    purged: (RECOMPUTE, {"libra-recompute-completed", "libra-mass-deletion"}),
    compacted: (RECOMPUTE, {"libra-compactions"}),
    proven_today: (RECOMPUTE, {"libra-recompute-completed", "libra-compactions"}),
    unproven: (RECOMPUTE, {"libra-recompute-completed", "libra-compactions", "libra-unproven"}),
}
"""What happens, which service logs it, and the metrics that count its lines."""


@pytest.mark.parametrize("happening", MATCHED, ids=lambda it: it.__name__)
def test_a_metric_counts_the_lines_that_it_is_for_and_no_others(
    happening: Happening, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real code logs what happens, and exactly these metrics count it; a label finds its field."""
    happening(World(), monkeypatch)
    service, expected = MATCHED[happening]
    assert counting(METRICS, output.getvalue(), service) == expected, output.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        'jsonPayload.message!="x"',
        'jsonPayload.message:"x"',
        'NOT jsonPayload.message="x"',
        'jsonPayload.message="x" OR severity="ERROR"',
        "severity>=WARNING",
        'jsonPayload.message=~("a" OR "b")',
        'jsonPayload.drift>"1"',
        "libra",
        '"libra"',
        'jsonPayload.message="x',
        'jsonPayload.message="x"severity="ERROR"',
    ],
)
def test_a_filter_that_the_tests_do_not_understand_is_refused(text: str) -> None:
    """It would match, or not, for another reason than Google's."""
    with pytest.raises(UnknownFilterError):
        matches(text, {"severity": "ERROR", "jsonPayload": {"message": "x", "drift": 2}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a.b="X" a.n>1 a.l=~"^t"', True),
        ('a.b=("y" OR "x")', True),
        ("a.n>2", False),
        ("a.n=2", True),
        ('a.n="2"', False),
        ("a.b>1", False),
        ('a.missing="x"', False),
        ('a.l="two"', True),
        ('a.l=~"x"', False),
    ],
)
def test_a_filter_is_understood_as_google_documents_it(text: str, expected: bool) -> None:
    """All comparisons hold; one element of a list is enough; text is compared without its case."""
    assert matches(text, {"a": {"b": "x", "n": 2, "l": ["one", "two"]}}) is expected
