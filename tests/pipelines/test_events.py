"""Messages become rows: late ones, doubled ones, out of order, malformed ones; and rows that are refused."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue

from pipelines.events import Rows, of_beam
from pipelines.inserting import Insert, InsertError
from shared.settings import Settings
from shared.warehouse import Message, Row

T0 = datetime(2026, 11, 25, 12, tzinfo=UTC)


def message(identity: str, event: object, minutes: float = 0, **attributes: str) -> Message:
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Message(identity, data, attributes, T0 + timedelta(minutes=minutes))


def event(name: str, **changed: object) -> dict[str, object]:
    return {
        "event_id": name,
        "user_id": "ann",
        "event_type": "view",
        "timestamp": "2026-11-25T11:00:00Z",
    } | changed


def at(minutes: float) -> float:
    return (T0 + timedelta(minutes=minutes)).timestamp()


def timed(found: Message) -> Any:
    return TimestampedValue(found, found.published.timestamp())


def named(row: Row) -> tuple[str, str, str]:
    return row.table, row.name.partition("/")[0], str(row.columns["libra_message"])


def test_a_stream_of_late_doubled_shuffled_and_malformed_messages() -> None:
    """Each event once while it is remembered, late or not; afterwards again, for the views to fold."""
    stream = (
        test_stream.TestStream()
        .advance_watermark_to(at(0))
        .add_elements([timed(message("m1", event("e1"))), timed(message("m2", event("e1"), 1))])
        .add_elements([timed(message("m4", event("e3"), 3)), timed(message("m3", event("e2"), 2))])
        .add_elements([timed(message("m5", b"\xff", 3)), timed(message("m5", b"\xff", 3))])
        .add_elements([timed(message("m6", event("e1", page="/"), 4))])
        .advance_watermark_to(at(9))
        .add_elements([timed(message("m7", event("e1"), 1))])  # late, and remembered
        .add_elements([timed(message("m8", event("e4"), 2))])  # late, and new
        .advance_watermark_to(at(60))
        .add_elements([timed(message("m9", event("e1"), 59))])  # forgotten
        .advance_watermark_to_infinity()
    )
    rows = "user_events_rows"
    options = PipelineOptions(flags=[], streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        found = pipeline | stream | Rows("user_events", Settings()) | beam.Map(named)
        assert_that(
            found,
            equal_to(
                [
                    (rows, "e1", "m1"),
                    (rows, "e3", "m4"),
                    (rows, "e2", "m3"),
                    ("dead_letters_rows", "m5", "m5"),
                    (rows, "e1", "m6"),  # another event with the same id: a conflict, which a view shows
                    (rows, "e4", "m8"),
                    (rows, "e1", "m9"),
                ]
            ),
        )


def test_what_beam_reads_is_a_message() -> None:
    """With Pub/Sub's own id and time, and with no attributes where it gives none."""
    found = of_beam(PubsubMessage(b"x", {"accepted": "y"}, "m1", T0))
    assert found == Message("m1", b"x", {"accepted": "y"}, T0)
    assert of_beam(PubsubMessage(b"x", None, "m1", T0)).attributes == {}


class BigQuery:
    """Tables in memory, which refuse some rows and fail some calls."""

    def __init__(self, refuses: Mapping[str, str] | None = None, failures: int = 0) -> None:
        self.rows: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.refuses = refuses or {}
        self.failures = failures

    def __call__(self, table: str, rows: list[dict[str, Any]], names: list[str]) -> Mapping[int, str]:
        refused = {n: self.refuses[name] for n, name in enumerate(names) if name in self.refuses}
        self.rows += [(table, name) for name in names if name not in self.refuses]
        self.bodies += rows
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the reply is lost")
        return refused


def insert(bigquery: BigQuery, rows: list[Row]) -> None:
    """One bundle."""
    writer = Insert(lambda: nullcontext(bigquery))
    writer.setup()
    writer.start_bundle()
    for row in rows:
        writer.process(row)
    writer.finish_bundle()


def row(name: str, table: str = "user_events_rows", **columns: object) -> Row:
    return Row(table, name, {"libra_message": "m", "libra_accepted": T0} | columns)


def test_rows_go_in_calls_of_five_hundred() -> None:
    """All of them, each once, to their tables."""
    bigquery = BigQuery()
    insert(bigquery, [row(f"r{n}", "a" if n % 2 else "b") for n in range(1_001)])
    assert sorted(bigquery.rows) == sorted(("a" if n % 2 else "b", f"r{n}") for n in range(1_001))


OPENED: list[str] = []


@contextmanager
def opened() -> Iterator[BigQuery]:
    """BigQuery, which refuses to be written to."""
    OPENED.append("opened")
    yield BigQuery(failures=1)
    OPENED.append("closed")


def test_a_connection_is_closed_with_the_run_that_opened_it() -> None:
    """The pipeline without a streaming runner opens one each second, for weeks. Also where the run fails."""
    OPENED.clear()
    with pytest.raises(Exception, match="the reply is lost"), beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([row("r1")]) | beam.ParDo(Insert(opened))
    assert OPENED == ["opened", "closed"]


def test_a_large_row_does_not_wait() -> None:
    """A call stays far below BigQuery's ten megabytes."""
    bigquery = BigQuery()
    writer = Insert(lambda: nullcontext(bigquery))
    writer.setup()
    writer.start_bundle()
    writer.process(row("large", content=b"x" * 5_000_000))
    assert bigquery.rows == [("user_events_rows", "large")]


def test_a_refused_row_becomes_a_dead_letter_and_holds_up_no_other() -> None:
    """With BigQuery's reason and all that the row said."""
    bigquery = BigQuery({"bad": "no such field"})
    insert(bigquery, [row("one"), row("bad", page="/"), row("two")])
    table = "user_events_rows"
    assert bigquery.rows == [(table, "one"), (table, "two"), ("dead_letters_rows", "m")]
    letter = bigquery.bodies[-1]
    assert letter["reasons"] == [
        {"field": "", "reason": "expected a row that BigQuery takes, found no such field"}
    ]
    assert letter["source"] == "user_events"


@pytest.mark.parametrize("table", ["user_events_rows", "dead_letters_rows"])
def test_a_refused_dead_letter_fails_the_bundle(table: str) -> None:
    """Nothing vanishes: the runner repeats it, and the log says why."""
    bigquery = BigQuery({"m": "no", "bad": "no"})
    with pytest.raises(InsertError, match="dead_letters_rows: BigQuery refuses the dead letter"):
        insert(bigquery, [row("bad", table)])


def test_a_call_that_fails_fails_the_bundle_and_a_repetition_has_the_same_names() -> None:
    """So that BigQuery, and the views after it, can fold what was written twice."""
    bigquery = BigQuery(failures=1)
    with pytest.raises(ConnectionError):
        insert(bigquery, [row("one"), row("two")])
    insert(bigquery, [row("one"), row("two")])
    assert bigquery.rows == [("user_events_rows", "one"), ("user_events_rows", "two")] * 2


def test_an_event_with_a_long_id_does_not_stop_the_stream() -> None:
    """BigQuery takes insert ids of 128 characters; an event's id has up to 256 bytes."""
    bigquery = BigQuery()
    insert(bigquery, [row("e" * 128), row("e" * 256 + "/1"), row("e" * 256 + "/2")])
    names = [name for _, name in bigquery.rows]
    assert names[0] == "e" * 128
    assert len(set(names)) == 3
    assert max(map(len, names)) == 128


WINDOW = T0 - timedelta(days=3_650), T0 + timedelta(days=365)
"""What BigQuery takes where rows are streamed (`shared.warehouse.tables.STREAMED`)."""
PARTITION = {"user_events_rows": "timestamp", "dead_letters_rows": "libra_accepted"}
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {}
"""By message: the table, and what was inserted. The runner copies the DoFn, not this."""


def within_ten_years(table: str, rows: list[dict[str, Any]], names: list[str]) -> Mapping[int, str]:
    """Inserts as BigQuery does, which refuses a row outside of the window of its partition."""
    assert len(rows) == len(names)
    times = [datetime.fromisoformat(each[PARTITION[table]]) for each in rows]
    refused = {n for n, time in enumerate(times) if not WINDOW[0] <= time <= WINDOW[1]}
    WRITTEN.update({it["libra_message"]: (table, it) for n, it in enumerate(rows) if n not in refused})
    return dict.fromkeys(refused, "outside the allowed bounds")


def test_no_time_of_acceptance_stops_the_stream() -> None:
    """Whoever publishes may write it. What BigQuery would refuse is none, in the dead letters too."""
    old = event("old", timestamp="1970-01-01T00:00:00Z")
    ahead = (T0 + timedelta(days=800)).isoformat()
    stream = (
        test_stream.TestStream()
        .advance_watermark_to(at(0))
        .add_elements([timed(message("epoch", old, accepted="1970-01-01T00:00:00Z"))])
        .add_elements([timed(message("old", b"\xff", accepted="2016-01-01T00:00:00Z"))])
        .add_elements([timed(message("fresh", event("e1"), accepted="1970-01-01T00:00:00Z"))])
        .add_elements([timed(message("ahead", event("e2", timestamp=ahead), accepted=ahead))])
        .add_elements([timed(message("none", event("e3"), accepted="when it came"))])
        .add_elements([timed(message("next", event("e4")))])
        .advance_watermark_to_infinity()
    )
    WRITTEN.clear()
    options = PipelineOptions(flags=[], streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        rows = pipeline | stream | Rows("user_events", Settings())
        _ = rows | beam.ParDo(Insert(lambda: nullcontext(within_ten_years)))
    events, letters = "user_events_rows", "dead_letters_rows"
    assert {name: table for name, (table, _) in WRITTEN.items()} == {
        **dict.fromkeys(("epoch", "old", "ahead"), letters),
        **dict.fromkeys(("fresh", "none", "next"), events),
    }
    assert WRITTEN["epoch"][1]["reasons"][0]["field"] == "timestamp"
    assert {it["libra_accepted"] for _, it in WRITTEN.values()} == {
        f"{T0.isoformat(timespec='microseconds')}"
    }
