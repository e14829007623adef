"""CSV files of users and locations, record by record."""

import csv
import itertools
from datetime import date
from decimal import Decimal

import pytest

from services.ingestion import files, records
from services.ingestion.errors import PartError
from services.ingestion.files import Format
from services.ingestion.rows import LONGEST_RAW, Rejected

HEAD = "location_id,name,city,country,latitude,longitude\n"


def read(text: str, form: Format = Format()) -> tuple[list[tuple[object, ...]], list[Rejected]]:  # noqa: B008
    """The rows of a file of locations."""
    found = list(files.batches("locations", "f.csv", text.splitlines(keepends=True), form))
    return [row for each in found for row in each.rows], [it for each in found for it in each.rejected]


def test_a_row_has_its_types_and_its_line() -> None:
    """Blank lines are none; empty fields are null."""
    rows, rejected = read(f'{HEAD}\nl1,"Caldo, ""Office""",Zürich,,47.3,8.5\r\n')
    assert rows == [
        ("l1", 'Caldo, "Office"', "Zürich", None, Decimal("47.3"), Decimal("8.5"), "{}", 3,
         'l1,"Caldo, ""Office""",Zürich,,47.3,8.5\r\n')
    ]  # fmt: skip
    assert rejected == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("l1,a,b,c,1", "it has 5 fields, allowed are 6"),
        ("l1,a,b,c,91,1", "latitude: found '91', allowed is degrees from -90 to 90"),
        ("l1,a,b,c,1,x", "longitude: found 'x', allowed is degrees from -180 to 180"),
        (",a,b,c,1,1", "location_id: there is none"),
        ("l1,a\0,b,c,1,1", "a NUL character"),
        ("l1,a\udce9,b,c,1,1", "bytes that are not utf-8: declare the file's encoding"),
        ('l1,"a,b,c,1,1', "a quote is opened and never closed"),
        ("l" * 501 + ",a,b,c,1,1", "location_id: it has more than 500 characters"),
        ("l1," + "a" * 200_000 + ",b,c,1,1", "a field has more than 131072 characters"),
        ('l1,"a"b,b,c,1,1', "a quote inside a field has to be written twice"),
    ],
)
def test_a_record_that_cannot_be_read_is_rejected_alone(line: str, reason: str) -> None:
    """Its neighbours are loaded, and its text is kept."""
    rows, rejected = read(f"{HEAD}before,,,,,\n{line}\nafter,,,,,\n")
    assert [row[0] for row in rows] == ["before", "after"]
    assert [it.line for it in rejected] == [3]
    assert reason in rejected[0].reason
    assert rejected[0].raw.isprintable() or "\0" in rejected[0].raw or rejected[0].raw.endswith("\n")
    rejected[0].raw.encode()


@pytest.mark.parametrize(
    ("line", "key", "last"),
    [
        ("l1,a,b,c,91,1", "l1", "l1"),
        (" l1 ,a,b,c,1", "l1", None),
        ('l1,"a,b,c,1,1', "l1", None),
        ('"l1","a"b,b,c,1,1', "l1", None),
        ('"l1,a,b,c,1,1', None, None),
        ('"l"1,a,b,c,1,1', None, None),
        ("l1", None, None),
        (",a,b,c,1,1", "", ""),
        ("l\udce9,a,b,c,1,1", None, None),
        ("l\0,a,b,c,1,1", None, None),
        ("l1," + "a" * records.LONGEST_LINE + ",b,c,1,1", "l1", None),
    ],
)
def test_a_rejected_row_says_whose_it_is_or_that_nobody_can_tell(
    line: str, key: str | None, last: str | None
) -> None:
    """A wrong key would mark as left whom the file has. Where the key is not the first column, a record that
    cannot be split does not say it."""
    (found,) = read(f"{HEAD}{line}\n")[1]
    assert found.key == key
    assert len(found.raw) <= LONGEST_RAW
    first, *others = line.split(",")
    moved = HEAD.strip().replace("location_id,", "") + ",location_id\n"
    (found,) = read(f"{moved}{','.join([*others, first])}\n")[1]
    assert found.key == last


def test_a_batch_of_long_rows_is_short() -> None:
    """What is held at once does not depend on how long rows are."""
    lines = [HEAD, *(f"l{it},{'x' * 100_000},,,,\n" for it in range(100))]
    sizes = [len(each.rows) for each in files.batches("locations", "f.csv", lines, Format())]
    assert sum(sizes) == 100
    assert max(sizes) * 100_000 < files.LARGEST_BATCH + records.LONGEST_LINE


def test_a_line_break_outside_quotes_is_rejected() -> None:
    """Two records in one line, where a lone carriage return was not taken for the end of one."""
    (found,) = files.batches("locations", "f.csv", [HEAD, "l1,a\rb,c,d,1,1\n"], Format())
    assert [it.reason for it in found.rejected] == ["a line break stands outside quotes"]


def test_many_rows_come_in_batches() -> None:
    """None is lost at the seam."""
    rows, _ = read(HEAD + "".join(f"l{it},,,,,\n" for it in range(files.BATCH + 1)))
    assert len(rows) == files.BATCH + 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (HEAD, "empty"),
        (HEAD + "l1,,,,,", "truncated"),
        ('"location_id\n', "wrong_columns"),
        (HEAD.replace("\n", ",gr\udcf6sse\n") + "l1,,,,,,\n", "encoding"),
        ("a,b\nc,d\n", "wrong_columns"),
        (HEAD.replace("\n", ",x,x\n") + "l1,,,,,,,\n", "wrong_columns"),
    ],
)
def test_a_file_that_is_none_has_a_code(text: str, code: str) -> None:
    """The message names the file."""
    with pytest.raises(PartError, match=r"f\.csv") as found:
        read(text)
    assert found.value.code == code


def test_the_newest_is_that_with_the_latest_date() -> None:
    """Two ways to write a date; what has none is passed over."""
    names = [
        "locations_2026-01-31.csv",
        "locations_20260201.csv",
        "locations_20269999.csv",
        "users_20270101.csv",
        "x",
    ]
    assert files.newest("locations", names) == ("locations_20260201.csv", date(2026, 2, 1))
    assert files.newest("users", ["x"]) is None
    assert files.target("users").key == "user_id"
    assert files.COLUMNS["users"]["created_on"]("2026-01-31") == date(2026, 1, 31)


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    """Also where the columns' names stand in quotes, as PowerShell writes them."""
    quoted = ",".join(f'"{each}"' for each in HEAD.strip().split(","))
    for head in (HEAD.strip(), quoted):
        assert [row[0] for row in read(f"\ufeff{head}\nl1,,,,,\n")[0]] == ["l1"]


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", ""])
def test_a_line_without_quotes_has_the_fields_that_csv_finds(delimiter: str, ending: str) -> None:
    """Every line of up to four of these characters: what is read the quick way is what `csv` reads."""
    for length in range(5):
        for each in itertools.product(' ,;"\r\n\0é\udc80\u2028', repeat=length):
            raw = "".join(each) + ending
            plain = records.plain_fields(raw, delimiter)
            assert plain is None or (plain, "") == records.csv_fields(raw, delimiter), raw
    assert records.plain_fields(f"a{delimiter} b{delimiter}{ending}", delimiter) == (
        ["a", " b", ""] if ending.endswith("\n") else None
    )
    assert records.plain_fields("a" * (csv.field_size_limit() + 1) + ending, delimiter) is None
