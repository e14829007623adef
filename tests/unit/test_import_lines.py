"""Entries from files: which lines are good, and what is said of the others."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.importing import Line, read
from local.errors import StackError

GOOD: dict[str, Any] = {
    "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
    "location": "Caldo Office",
    "ingredient": "Kettle Chips",
    "dataAction": "Served",
    "amount": 12.5,
    "timestamp": "2025-09-04T18:57:29Z",
}
STORED = GOOD | {"timestamp": datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC)}
HEADER = "id,device.model,device.serialNumber,location,ingredient,dataAction,amount,timestamp\n"


def imported(file: Path, content: str | bytes) -> tuple[list[Line], list[str]]:
    """The good lines and the complaints."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    complaints: list[str] = []
    return list(read(file, complaints.append)), complaints


def lines(*objects: object) -> str:
    """JSON lines."""
    return "".join(json.dumps(one) + "\n" for one in objects)


def test_a_good_line_of_json_is_an_entry(tmp_path: Path) -> None:
    """Each field as Firestore is to hold it, the timestamp as a Timestamp; the id is not among them."""
    found, complaints = imported(tmp_path / "a.jsonl", lines(GOOD | {"id": "my-id"}))
    assert (found, complaints) == ([Line(1, "my-id", STORED)], [])


def test_a_good_row_of_csv_is_the_same_entry(tmp_path: Path) -> None:
    """Both formats say the same thing; an empty cell is a field that is not there."""
    rows = "my-id,LibraV0,Lib298190,Caldo Office,Kettle Chips,Served,12.5,2025-09-04T18:57:29Z\n"
    rows += ',,,,"Chips, ""hot""",Refilled,7,2025-09-04T18:57:29Z\n'
    (first, second), complaints = imported(tmp_path / "a.csv", HEADER + rows)
    assert complaints == []
    assert first == Line(2, "my-id", STORED)
    assert second.fields == {
        "ingredient": 'Chips, "hot"',
        "dataAction": "Refilled",
        "amount": 7,
        "timestamp": STORED["timestamp"],
    }


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-09-04T18:57:29Z", datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC)),
        ("2025-09-04t18:57:29.123456z", datetime(2025, 9, 4, 18, 57, 29, 123456, tzinfo=UTC)),
        ("2025-09-04 18:57:29.1234567+05:45", datetime(2025, 9, 4, 13, 12, 29, 123456, tzinfo=UTC)),
        ("1969-12-31T16:00:00-08:00", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_timestamp_with_a_zone_is_that_instant(tmp_path: Path, text: str, instant: datetime) -> None:
    """RFC 3339, to the microsecond."""
    (line,), _ = imported(tmp_path / "a.jsonl", lines(GOOD | {"timestamp": text}))
    assert line.fields["timestamp"] == instant


WRONG: list[tuple[object, str]] = [
    ({"timestamp": "2025-09-04T18:57:29"}, "timestamp='2025-09-04T18:57:29': no time zone; end it with Z or"),
    ({"timestamp": "yesterday"}, "timestamp='yesterday': expected RFC 3339, such as"),
    ({"timestamp": "2025-W36-4T18:57:29Z"}, "timestamp='2025-W36-4T18:57:29Z': expected RFC 3339"),
    ({"timestamp": "2025-02-30T18:57:29Z"}, "timestamp='2025-02-30T18:57:29Z': day is out of range"),
    ({"timestamp": "0001-01-01T00:00:00+10:00"}, "timestamp='0001-01-01T00:00:00+10:00': "),
    ({"timestamp": 1757012249}, "timestamp=1757012249: expected RFC 3339"),
    ({"timestamp": ...}, "timestamp is missing"),
    ({"ingredient": ...}, "ingredient is missing"),
    ({"ingredient": None}, "ingredient=None: expected a string"),
    ({"ingredient": "\ud800"}, r"ingredient='\ud800': not valid UTF-8"),
    ({"dataAction": ""}, "dataAction is empty"),
    ({"dataAction": 7}, "dataAction=7: expected a string"),
    ({"location": ["x"]}, "location=['x']: expected a string"),
    ({"amount": "12.5"}, "amount='12.5': expected a number of grams"),
    ({"amount": True}, "amount=True: expected a number of grams"),
    ({"amount": 2**63}, f"amount={2**63}: more than Firestore can hold"),
    ({"device": "Lib298190"}, "device='Lib298190': expected an object of model and serialNumber"),
    ({"device": {"model": 1}}, "device.model=1: expected a string"),
    ({"device": {"name": "x"}}, "device={'name': 'x'}: expected an object"),
    ({"id": ""}, "id='': expected 1 to 1500 bytes"),
    ({"id": "a/b"}, "id='a/b': expected"),
    ({"id": ".."}, "id='..': expected"),
    ({"id": "__x__"}, "id='__x__': expected"),
    ({"id": "x" * 1501}, "id='xxx"),
    ({"id": 7}, "id=7: expected a string"),
    ({"ingrediant": "x"}, "unknown field 'ingrediant': allowed are id, device,"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG)
def test_a_wrong_line_costs_that_line(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    """It is named with its number, what was found and what is allowed; its neighbours are entries."""
    wrong = {name: value for name, value in (GOOD | change).items() if value is not ...}
    found, complaints = imported(tmp_path / "a.jsonl", lines(GOOD, wrong, GOOD))
    assert [line.number for line in found] == [1, 3]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"2: {complaint}")
    assert len(complaints[0]) < 200


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "not JSON in UTF-8: "),
        (b"\xff{}", "not JSON in UTF-8: "),
        (b'{"amount": NaN}', "not JSON in UTF-8: NaN is no number in JSON"),
        (b'"text"', "expected an object, found 'text'"),
        (b"[" * 100_000, "not JSON in UTF-8: "),
    ],
)
def test_what_is_no_json_object_costs_that_line(tmp_path: Path, line: bytes, complaint: str) -> None:
    """Broken JSON, other encodings, other kinds of values: named, and the rest is read."""
    good = lines(GOOD).encode()
    found, complaints = imported(tmp_path / "a.jsonl", good + line + b"\n" + good)
    assert [one.number for one in found] == [1, 3]
    assert [text.startswith(f"2: {complaint}") for text in complaints] == [True]


def test_wrong_rows_cost_those_rows(tmp_path: Path) -> None:
    """Too few columns, a wrong number, a wrong byte, broken quotes: named by the line they begin on."""
    good = b",,,,Rice,Served,1,2025-09-04T18:57:29Z\n"
    bad = [
        b"a,b\n",
        good.replace(b",1,", b",1g,"),
        good.replace(b"Rice", b"R\xffce"),
        b',,,,"R"ice,Served,1,x\n',
    ]
    content = HEADER.encode() + b"".join(good + row for row in bad) + b',,,,"two\nlines",Served,1,x\n' + good
    found, complaints = imported(tmp_path / "a.csv", content)
    assert [line.number for line in found] == [2, 4, 6, 8, 12]
    assert [text.partition(" ")[0] for text in complaints] == ["3:", "5:", "7:", "9:", "10:"]
    assert [text.partition(": ")[2][:22] for text in complaints] == [
        "expected 8 columns, fo",
        "amount='1g': expected ",
        r"ingredient='R\udcffce'",
        "not CSV: ',' expected ",
        "timestamp='x': expecte",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "ingredient,dataAction\n", "the header names ingredient, dataAction: it needs ingredient,"),
        ("a.csv", HEADER.replace("location", "place"), "the header names .*place.*: it needs"),
        (
            "a.csv",
            HEADER.replace("location", "id"),
            "it needs ingredient, .* and may have, once each",
        ),
        ("a.csv", "", "the header names nothing"),
        ("a.xlsx", "", "expected a file whose name ends with .jsonl or .csv"),
    ],
)
def test_a_file_that_can_not_be_read_at_all_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    """A header that names other columns, or another kind of file: nothing is imported."""
    with pytest.raises(StackError, match=message):
        imported(tmp_path / name, content)


def test_ids_depend_on_what_lines_say_and_nothing_else(tmp_path: Path) -> None:
    """The same file gives the same ids, in another order too, and equal lines stay two entries."""
    other = GOOD | {"amount": 13}
    first, _ = imported(tmp_path / "a.jsonl", lines(GOOD, GOOD, other))
    again, _ = imported(tmp_path / "b.jsonl", lines(other, {}, GOOD, GOOD))
    assert len({line.id for line in first}) == 3
    assert {line.id for line in again} == {line.id for line in first}
    assert all(len(line.id) == 30 for line in first)


def test_an_id_stands_for_one_line(tmp_path: Path) -> None:
    """The second line of an id would vanish in the first: it is named instead."""
    found, complaints = imported(
        tmp_path / "a.jsonl", lines(GOOD | {"id": "x"}, GOOD | {"id": "x", "amount": 1})
    )
    assert [line.number for line in found] == [1]
    assert complaints == ["2: id='x': line 1 has it already"]
