"""The emulator and its in-memory twin, given the same random operations, must answer alike.

The simulation stands on the twin: whatever it proves is worth what this test is worth. Every operation
is applied to both, and its result compared: the error's kind, or the documents with all their fields.
Instants differ between the two, so they are named by the commits they come from.
"""

import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.emulator import Emulator
from shared.errors import Invalid, StoreError
from shared.store import Create, Delete, Document, Filter, GeoPoint, Merge, Query, Store, Write
from shared.store.client import FirestoreStore
from tests.support.memory_store import MemoryStore

# --- what is done -------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", "é", "😀", "a%2Fb"])
COLLECTIONS = st.sampled_from(["x", "y"])
PATHS = st.builds("{}/{}".format, COLLECTIONS, IDS)
NAMES = st.sampled_from(["n", "m", "recent", "odd name", "`"])
QUERIED = st.sampled_from(["n", "m", "recent", "m.n", "recent.m"])
INSTANTS = st.integers(0, 4_000_000_000_000_000).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)

SCALARS: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, -(2**63), 2**53, 2**53 + 1]),
    st.sampled_from([0.5, -0.0, 1.0, math.inf, float(2**53)]),
    st.sampled_from(["", "a", "b", "é", "😀"]),
    st.sampled_from([b"", b"a"]),
    INSTANTS,
    st.builds(GeoPoint, st.sampled_from([0.0, 1.5]), st.sampled_from([0.0, -2.5])),
)
VALUES: st.SearchStrategy[object] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner.filter(lambda each: not isinstance(each, list)), max_size=3),
        st.dictionaries(NAMES, inner, max_size=3),
    ),
    max_leaves=4,
)
FIELD_PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)


def apart(paths: list[tuple[str, ...]]) -> bool:
    """No path is another's or leads to another: what Firestore does with those is nothing to build on."""
    return not any(
        one is not other and other[: len(one)] == one
        for i, one in enumerate(paths)
        for j, other in enumerate(paths)
        if i != j or one is not other
    )


@st.composite
def merges(draw: st.DrawFn) -> Merge:
    """A merge whose fields do not overlap."""
    paths = draw(st.lists(FIELD_PATHS, max_size=5, unique=True).filter(apart))
    parts: list[list[tuple[str, ...]]] = [[], [], []]
    for path in paths:
        parts[draw(st.integers(0, 2))].append(path)
    return Merge(
        draw(PATHS),
        {path: draw(VALUES) for path in parts[0]},
        {path: draw(st.integers(-(2**62), 2**62) | st.integers(-3, 3)) for path in parts[1]},
        parts[2],
    )


CREATES = st.builds(Create, PATHS, st.dictionaries(NAMES, VALUES, max_size=3))
WRITES: st.SearchStrategy[Write] = st.one_of(CREATES, merges(), merges(), st.builds(Delete, PATHS))

COMPARED = SCALARS.filter(lambda each: each is not None and each != math.inf)
FILTERS = st.builds(Filter, QUERIED, st.sampled_from(["==", "<", "<=", ">", ">="]), COMPARED)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A query of the shapes Libra uses: at most one field has inequalities, and orders begin with it."""
    where = draw(st.lists(FILTERS, max_size=2))
    unequal = {each.field for each in where if each.operator != "=="}
    equal = {each.field for each in where if each.operator == "=="}
    if len(unequal) > 1 or unequal & equal:
        where, unequal = where[:1], {each.field for each in where[:1] if each.operator != "=="}
    orders = draw(st.lists(QUERIED, max_size=2, unique=True))
    if unequal:
        orders = [*unequal, *(each for each in orders if each not in unequal)]
    orders = [draw(st.sampled_from(["", "-"])) + each for each in orders]
    cursor = draw(st.lists(VALUES, max_size=len(orders)))
    return Query(
        draw(COLLECTIONS),
        tuple(where),
        tuple(orders),
        tuple(cursor),
        draw(st.none() | st.integers(1, 4)),
        draw(st.none() | st.lists(QUERIED, max_size=2, unique=True).map(tuple)),
    )


@dataclass(frozen=True)
class CommitStep:
    writes: list[Write]


@dataclass(frozen=True)
class ConditionalStep:
    """A merge or a deletion that depends on its document as it was some commits ago, with other writes."""

    write: Merge | Delete
    others: list[Write]
    back: int


@dataclass(frozen=True)
class TransactionStep:
    """Read, then commit, with nobody in between; or given up."""

    reads: list[str]
    writes: list[Write]
    give_up: bool


@dataclass(frozen=True)
class ReadStep:
    paths: list[str]
    back: int
    """How many commits before now; 0: no read time."""


@dataclass(frozen=True)
class QueryStep:
    query: Query
    back: int


@dataclass(frozen=True)
class ScanStep:
    collection: str
    after: str | None
    until: str | None
    limit: int


Step = CommitStep | ConditionalStep | TransactionStep | ReadStep | QueryStep | ScanStep
BACK = st.integers(0, 3)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(CommitStep, st.lists(WRITES, min_size=1, max_size=4)),
    st.builds(CommitStep, st.lists(CREATES, min_size=1, max_size=6)),
    st.builds(ConditionalStep, merges() | st.builds(Delete, PATHS), st.lists(WRITES, max_size=2), BACK),
    st.builds(
        TransactionStep, st.lists(PATHS, min_size=1, max_size=3), st.lists(WRITES, max_size=2), st.booleans()
    ),
    st.builds(ReadStep, st.lists(PATHS, min_size=1, max_size=4), BACK),
    st.builds(QueryStep, queries(), BACK),
    st.builds(QueryStep, queries(), BACK),
    st.builds(ScanStep, COLLECTIONS, st.none() | IDS, st.none() | IDS, st.integers(1, 9)),
)


# --- what comes of it ---------------------------------------------------------------------------


@dataclass
class Side:
    """One of the two stores, and the times of its commits."""

    store: Store
    times: list[datetime] = field(default_factory=list)

    def run(self, step: Step) -> object:
        """Do it and tell what came of it, in words that mean the same on both sides."""
        try:
            return self._run(step)
        except StoreError as error:
            return type(error).__name__

    def _run(self, step: Step) -> object:  # noqa: PLR0911 - one branch a kind of step
        match step:
            case CommitStep(writes):
                return self._commit(writes, None)
            case ConditionalStep(write, others, back):
                (read,) = self.store.get([write.path], read_time=self._at(back))
                if read is None and not self.times:
                    return None
                expected = read.update_time if read else self.times[0]
                return self._commit([replace(write, if_updated=expected), *others], None)
            case TransactionStep(reads, writes, give_up):
                transaction, found = self.store.begin(reads)
                if give_up or not writes:
                    self.store.rollback(transaction)
                if not writes:
                    return list(map(self._told, found))
                try:
                    return [list(map(self._told, found)), self._commit(writes, transaction)]
                except Invalid:  # the one error that leaves a transaction, and its locks, behind
                    self.store.rollback(transaction)
                    raise
            case ReadStep(paths, back):
                return list(map(self._told, self.store.get(paths, read_time=self._at(back))))
            case QueryStep(query, back):
                at = self._at(back)
                found_ = [self._told(each) for each in self.store.query(query, read_time=at)]
                return [found_, self.store.count(query, read_time=at)]
            case ScanStep(collection, after, until, limit):
                if not self.times:
                    return None
                scan = self.store.scan(
                    collection, ("n", "m.n"), after=after, until=until, limit=limit, read_time=self.times[-1]
                )
                return [(entry_id, plain(fields)) for entry_id, fields in scan]

    def _commit(self, writes: list[Write], transaction: bytes | None) -> str:
        at = self.store.commit(writes, transaction=transaction, timeout=30)
        self.times.append(at)
        return "committed"

    def _at(self, back: int) -> datetime | None:
        return self.times[-back] if 0 < back <= len(self.times) else None

    def _told(self, document: Document | None) -> object:
        if document is None:
            return None
        return (
            document.path,
            plain(document.fields),
            self.times.index(document.create_time),
            self.times.index(document.update_time),
        )


def plain(value: object) -> object:
    """With the type beside each value: 1, 1.0 and True are three things."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return f"{type(value).__name__} {value!r}"


@pytest.fixture(scope="module")
def connect(emulator: Emulator) -> Iterator[Callable[[], FirestoreStore]]:
    """Makes empty databases, all on one channel."""
    with grpc.insecure_channel(emulator.address) as channel:
        yield lambda: FirestoreStore(
            channel,
            f"demo-{uuid.uuid4().hex[:12]}",
            "(default)",
            token="owner",  # noqa: S106 - the emulator's word for one whom no rules bind
        )


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=1, max_size=25))
def test_the_emulator_and_its_twin_answer_alike(
    connect: Callable[[], FirestoreStore], steps: list[Step]
) -> None:
    """Any sequence of commits, transactions, reads, queries, counts and scans has the same results."""
    emulated = Side(connect())
    twin = Side(MemoryStore(lambda: datetime.now(UTC), root=emulated.store.root))
    for step in steps:
        assert twin.run(step) == emulated.run(step), step
    for path in {path for step in steps for path in touched(step)}:
        assert twin.run(ReadStep([path], 0)) == emulated.run(ReadStep([path], 0))


def touched(step: Step) -> list[str]:
    """The paths a step may have written."""
    if isinstance(step, ConditionalStep):
        return [step.write.path, *(write.path for write in step.others)]
    return [write.path for write in getattr(step, "writes", ())]


def test_the_comparison_can_tell(connect: Callable[[], FirestoreStore]) -> None:
    """The control: a twin that lets an increment wrap instead of saturate is found out."""
    emulated = Side(connect())
    twin = Side(MemoryStore(lambda: datetime.now(UTC), root=emulated.store.root))
    steps = [
        CommitStep([Create("x/a", {"n": 2**63 - 1})]),
        CommitStep([Merge("x/a", increments={("n",): 1})]),
    ]
    assert [twin.run(step) for step in steps] == [emulated.run(step) for step in steps]
    twin.run(CommitStep([Merge("x/a", {("n",): -(2**63)})]))
    emulated.times.append(emulated.times[-1])
    assert twin.run(ReadStep(["x/a"], 0)) != emulated.run(ReadStep(["x/a"], 0))
