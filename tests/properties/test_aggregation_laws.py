"""Laws of the pure module, over generated keys and entries."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import (
    MAX_ID_BYTES,
    Aggregation,
    Count,
    FieldKey,
    Source,
    Sum,
    add,
    contribution,
    decode_id,
    document_id,
    fold,
)
from shared.catalog import libra
from shared.settings import Settings
from shared.watermark import bucket_of, choose_watermark, parse_label

LIBRA = libra(Settings(time_zone=ZoneInfo("America/New_York")))
SOURCE = Source(
    LIBRA.name,
    (
        *LIBRA.aggregations,
        Aggregation(
            "pairs",
            (FieldKey("ingredient"), FieldKey("location")),
            measures=(Count(), Sum("amount", "milligrams", 1000)),
        ),
    ),
)

text = st.text() | st.text(alphabet="%/._|25FE", max_size=8)
instants = st.datetimes(timezones=st.just(UTC))
junk = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.lists(st.none()) | text
entries = st.fixed_dictionaries(
    {},
    optional={
        "ingredient": text | junk,
        "location": text | junk,
        "dataAction": st.sampled_from(["Served", "Heartbeat", ""]) | junk,
        "timestamp": instants | junk,
        "amount": st.floats() | junk,
    },
)


@given(text, text)
def test_document_ids_are_injective(one: str, other: str) -> None:
    """Two keys share an id only if they are the same key."""
    assert (document_id(one) == document_id(other)) == (one == other)


@given(st.tuples(text, text), st.tuples(text, text))
def test_composite_document_ids_are_injective(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The same for keys of two parts, whatever separators they hold."""
    assert (document_id(one) == document_id(other)) == (one == other)


@given(text)
def test_document_ids_are_ones_firestore_takes(key: str) -> None:
    """No slash, no `.` or `..`, not reserved, not empty, at most 1,500 bytes; and read back."""
    encoded = document_id(key)
    assert "/" not in encoded
    assert encoded not in ("", ".", "..")
    assert not (encoded.startswith("__") and encoded.endswith("__") and len(encoded) > 3)
    assert len(encoded.encode()) <= MAX_ID_BYTES
    if not encoded.startswith("%sha256-"):
        assert decode_id(encoded, (FieldKey("ingredient"),)) == key


@given(st.lists(entries), st.integers(0, 5), st.randoms())
def test_deltas_are_a_commutative_monoid(
    collection: list[dict[str, object]], cuts: int, random: object
) -> None:
    """Any order and any grouping of the entries gives the same totals; no entry crashes anything."""
    whole = fold(SOURCE, collection)
    shuffled = list(collection)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's Random
    groups = [shuffled[start :: cuts + 1] for start in range(cuts + 1)]
    assert add(fold(SOURCE, group) for group in groups) == whole
    assert add([whole, {}]) == whole == add([{}, whole])


@given(entries)
def test_what_is_not_counted_is_rejected_with_a_reason(fields: dict[str, object]) -> None:
    """Every aggregation whose filter admits an entry either counts it or says why not."""
    found = contribution(SOURCE, fields)
    counted = {cell.aggregation for cell in found.deltas}
    refused = {one.aggregation for one in found.rejections}
    for aggregation in SOURCE.aggregations:
        admitted = aggregation.where is None or aggregation.where.admits(fields)
        assert admitted == (aggregation.name in counted | refused)
    assert all(one.reason for one in found.rejections)


@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.sampled_from([1, 5, 60, 600, 86_400]),
)
def test_a_bucket_holds_its_commit_time_and_no_watermark_cuts_it(commit_time: datetime, seconds: int) -> None:
    """Rounded up by less than its length; boundaries of one length never straddle each other."""
    length = timedelta(seconds=seconds)
    bucket = bucket_of(commit_time, length)
    assert bucket.end - length < commit_time <= bucket.end
    assert parse_label(bucket.label())[0] == bucket
    assert not bucket.straddles(choose_watermark(commit_time, timedelta(0), length))
