"""The result of a pipeline's count: read back as it was written, and refused if it is of anything else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import (
    Aggregation,
    Cell,
    Count,
    FieldKey,
    Home,
    Maximum,
    Minimum,
    Source,
    Sum,
    extremes,
    fold,
    widen,
)
from shared.catalog import libra
from shared.counting import result
from shared.counting.result import Asked, declarations_of, joined, line_of, read
from shared.errors import PipelineError
from shared.settings import Settings
from tests.support.declarations import entries, sources

AT = datetime(2025, 9, 4, 19, tzinfo=UTC)
SOURCE = Source(
    "libra",
    (
        Aggregation("a", FieldKey("x"), measures=(Count(), Sum("v", "whole"), Minimum("v", "least"))),
        Aggregation("b", (FieldKey("x"), FieldKey("y", kind=int)), measures=(Count(), Maximum("v", "most"))),
        Aggregation("c", FieldKey("z", kind=bool)),
    ),
)
HOME = Home(entries="libra", self_written=True)
ASKED = Asked.of(SOURCE, HOME, AT)


def written(source: Source, found: Sequence[Mapping[str, object]], asked: Asked = ASKED) -> list[str]:
    """A result over some entries, from two parts."""
    totals = fold(source, found)
    values: dict[Cell, dict[str, int]] = {}
    for entry in found:
        widen(source, values, extremes(source, entry))
    lines = [line_of(cell, totals[cell], values.get(cell, {})) for cell in totals]
    figures = {"entries": len(found), "reads": 7}
    return list(joined([lines[:2], iter(f"{line}\n" for line in lines[2:])], asked, figures, "as tested"))


ENTRIES: list[dict[str, object]] = [
    {"x": "Mac/Cheese", "y": 2**63 - 1, "z": True, "v": 3},
    {"x": "Mac/Cheese", "y": 2**63 - 1, "z": False, "v": -4},
    {"x": "\u2028\U0001f9c2\n", "y": 1, "v": 9},
    {"x": True, "y": 1.0},
]


def test_what_was_written_is_read() -> None:
    """Keys of every kind, composite ones, extremes, and the figures."""
    found = read(written(SOURCE, ENTRIES), ASKED, SOURCE, lambda _: lambda cell: cell)
    assert found.counted.totals == fold(SOURCE, ENTRIES)
    assert found.counted.extremes[Cell("a", "Mac/Cheese")] == {"least": -4}
    assert found.counted.extremes[Cell("b", ("Mac/Cheese", 2**63 - 1))] == {"most": 3}
    assert Cell("c", True) in found.counted.totals
    assert (found.counted.entries, found.reads, found.how) == (4, 7, "as tested")


def test_cells_are_settled_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded key that has met millions of values does not have them all in memory."""
    monkeypatch.setattr(result, "CHUNK", 2)
    sizes = []

    def settle(cells: object) -> object:
        sizes.append(len(list(cells)))  # type: ignore[call-overload]  # they are
        return lambda cell: Cell(cell.aggregation, "other") if cell.aggregation == "a" else cell

    found = read(written(SOURCE, ENTRIES), ASKED, SOURCE, settle)  # type: ignore[arg-type]  # as it is called
    assert max(sizes) == 2
    assert found.counted.totals[Cell("a", "other")] == {"count": 3, "whole": 8}
    assert found.counted.extremes[Cell("a", "other")] == {"least": -4}


OTHERS = {
    "read_time": replace(ASKED, read_time=AT + timedelta(microseconds=1)),
    "declarations": replace(ASKED, declarations="0" * 32),
    "source": replace(ASKED, source="signals"),
    "collection": replace(ASKED, collection="libra2"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_result_of_something_else_is_refused(name: str) -> None:
    """Another W, another digest, another source: the message names what differs, with both values."""
    wanted = str(json.loads(ASKED.head())[name])
    with pytest.raises(PipelineError, match=f"the result is of {name} .*{wanted!r}".replace("+", r"\+")):
        read(written(SOURCE, ENTRIES, OTHERS[name]), ASKED, SOURCE, lambda _: lambda cell: cell)


def broken() -> Iterator[tuple[str, list[str]]]:
    """Results that are none, and what is said of them."""
    whole = written(SOURCE, ENTRIES)
    yield "the first line of the result does not say", []
    yield "the first line of the result does not say", whole[1:]
    yield "incomplete: it holds 6 cells, and its last line", whole[:-1]
    yield "incomplete: it holds 5 cells", [*whole[:3], *whole[4:]]
    yield "incomplete: it holds 7 cells", [*whole[:3], whole[1], *whole[3:]]
    yield "no cell", [whole[0], "{}", *whole[1:]]
    yield "no cell", [whole[0], '["a", null, {}, {}]', *whole[1:]]
    yield "no JSON", [whole[0], '["a", "x', *whole[1:]]


@pytest.mark.parametrize(("says", "lines"), list(broken()), ids=range(8))
def test_what_is_incomplete_or_no_result_is_refused(says: str, lines: list[str]) -> None:
    """Cut off anywhere, a line too few or too many, or something else."""
    with pytest.raises(PipelineError, match=says):
        read(lines, ASKED, SOURCE, lambda _: lambda cell: cell)


def test_the_digest_is_of_every_declaration() -> None:
    """A zone, a filter, an aggregation more or the source's name: each gives another digest."""
    settings = Settings()
    found = {
        declarations_of(each)
        for each in (
            libra(settings),
            libra(replace(settings, time_zone=ZoneInfo("Asia/Kolkata"))),
            libra(replace(settings, time_action=None)),
            replace(libra(settings), name="libra2"),
            replace(libra(settings), aggregations=libra(settings).aggregations[:3]),
        )
    }
    assert len(found) == 5
    assert declarations_of(libra(settings)) == declarations_of(libra(Settings()))


@given(sources(), st.lists(entries(), max_size=6))
def test_any_declared_totals_survive_the_way(source: Source, found: list[dict[str, object]]) -> None:
    """Whatever can be declared and stored comes back as it was added up."""
    asked = Asked.of(source, HOME, AT)
    assert read(
        written(source, found, asked), asked, source, lambda _: lambda cell: cell
    ).counted.totals == fold(source, found)
