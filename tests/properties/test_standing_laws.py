"""Whatever the state document holds of the aggregations, a run reads it, and reads back what it wrote."""

from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import Home
from shared.recompute.standing import standings
from tests.support.recomputing import BEGIN
from tests.support.standing import ACTIONS, PLACES, source

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(BEGIN) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["places", "actions", "gone", "libra", "aggregates_runs", "places:gone"])
TIMES = st.datetimes(timezones=st.just(BEGIN.tzinfo))
RECORDS = st.fixed_dictionaries(
    {
        "collection": NAMES | ODD,
        "digest": st.text(max_size=5) | ODD,
        "measures": st.lists(st.text(max_size=5), max_size=3) | ODD,
        "why": st.sampled_from(["first", "new", "changed", "else"]) | ODD,
        "declared_at": TIMES | ODD,
        "exact_since": st.none() | TIMES | ODD,
        "orphaned_at": st.none() | TIMES | ODD,
        "orphaned_fields": st.lists(st.text(max_size=5), max_size=3) | ODD,
        "sum": st.integers() | ODD,
    }
)
GOOD = st.fixed_dictionaries(
    {
        "collection": NAMES,
        "digest": st.text(max_size=5),
        "measures": st.lists(st.text(max_size=5), max_size=3),
        "why": st.sampled_from(["first", "new", "changed"]),
        "declared_at": TIMES,
        "exact_since": st.none() | TIMES,
        "orphaned_at": st.none() | TIMES,
        "orphaned_fields": st.lists(st.text(max_size=5), max_size=3),
    }
)
STATES = st.fixed_dictionaries(
    {}, optional={"aggregations": ODD | st.dictionaries(NAMES, RECORDS | GOOD | ODD)}
)


@given(STATES)
def test_no_content_of_the_state_document_stops_a_run(state: dict[str, object]) -> None:
    """It never raises, names no collection that is in use as an orphan, and settles after one run."""
    declared, home = source(PLACES, ACTIONS), Home(entries="libra")
    found = standings(declared, home, state)
    assert [each.name for each in found.declared] == ["places", "actions"]
    assert not {each.collection for each in found.orphaned} & set(home.used(declared))
    after = found.proven(BEGIN, BEGIN, {})
    again = standings(declared, home, {"aggregations": after.as_fields()})
    assert again.notes == ()
    assert again.declared == after.declared
    assert {each.name: each for each in again.orphaned} == {each.name: each for each in after.orphaned}
