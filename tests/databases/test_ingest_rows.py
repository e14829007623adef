"""What becomes of the rows of a file: those that are rejected, endless lines, and a count of all of them."""

import io
import tracemalloc
from datetime import date

import pytest

from local.sftp import SftpServer
from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.files import Format
from services.ingestion.records import LONGEST_LINE
from services.ingestion.requests import Part
from services.ingestion.rows import LONGEST_RAW
from services.ingestion.sftp import _lines
from tests.support.ingesting import rows
from tests.support.user_files import BAD_QUOTE, Source, held, run, users, write


def test_a_user_whose_row_is_rejected_has_not_left(books: Books, sftp: SftpServer) -> None:
    """The file has the row, if not whole: what is known of the user stays. One that is really gone is
    marked; one that left before and comes back with a row that cannot be read stays marked."""
    write(sftp, "users_2026-01-01.csv", users(400))
    run(books, Source(books, sftp))
    second = users(400).replace("u9,u9@shop.example,Name 9,l1,2026-01-01,free\n", "")
    second = second.replace("Name 7,l1,2026-01-01", "Name 7,l1,yesterday").replace("Name 8,", '"Na"me 8,')
    write(sftp, "users_2026-01-02.csv", second)
    assert run(books, Source(books, sftp)).records["users"]["rejected"] == 2
    assert {user for user, left in held(books).items() if left} == {"u9"}
    assert rows(books, "acme", "SELECT created_on FROM ingest_user WHERE user_id = 'u7'") == [
        (date(2026, 1, 1),)
    ]
    third = users(400).replace("Name 9,l1,2026-01-01", "Name 9,l1,?").replace("u5,", "v5,")
    write(sftp, "users_2026-01-03.csv", third)
    assert run(books, Source(books, sftp)).state == "completed"
    assert {user: left for user, left in held(books).items() if left} == {
        "u9": date(2026, 1, 2),
        "u5": date(2026, 1, 3),
    }


def test_where_a_rejected_row_does_not_say_whose_it_is_nobody_is_marked(
    books: Books, sftp: SftpServer
) -> None:
    """It may be the row of any user that the file lacks. The next file that can be read marks whom it lacks.
    The ceiling of rows that leave holds all the same."""
    write(sftp, "users_2026-01-01.csv", users(400))
    run(books, Source(books, sftp))
    write(sftp, "users_2026-01-02.csv", users(400, start=2).replace("u7,", '"u7,'))
    assert run(books, Source(books, sftp)).state == "completed"
    assert set(held(books).values()) == {None}
    assert len(held(books)) == 400
    write(sftp, "users_2026-01-03.csv", users(200).replace("u7,", '"u7,'))
    assert run(books, Source(books, sftp)).error_code == "too_many_left"
    write(sftp, "users_2026-01-04.csv", users(400, start=2))
    run(books, Source(books, sftp))
    assert {user for user, left in held(books).items() if left} == {"u0", "u1"}


def test_a_line_without_an_end_is_rejected_and_takes_no_memory(books: Books, sftp: SftpServer) -> None:
    """Sixty-four megabytes without a line break: its neighbours are loaded, the start of it is kept."""
    path = write(sftp, "users_2026-01-01.csv", users(200))
    with path.open("a") as file:
        file.write("long,")
        for _ in range(64):
            file.write("x" * 2**20)
        file.write("\nu200,,,,,\n")
    reading = Source(books, sftp).open(Part("users", None))
    tracemalloc.start()
    (batch,) = reading.batches()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reading.check(202)
    reading.close()
    assert peak < 16 * 2**20, peak
    assert len(batch.rows) == 201
    assert [(it.line, it.key, it.raw[:8], len(it.raw)) for it in batch.rejected] == [
        (202, "long", "long,xxx", LONGEST_RAW)
    ]
    assert "1,048,576 characters" in batch.rejected[0].reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_lines_of_a_file_are_counted_apart_from_its_reader(
    books: Books, sftp: SftpServer, encoding: str
) -> None:
    """Whatever ends a line, with blank ones, a record of two lines and quotes that are wrong. A row that the
    reader passes over, and one that it has twice, end the load."""
    text = (
        BAD_QUOTE.replace("Name 11,", '"A\nB",').replace("u20,", "\r\n\r\nu20,").replace("\nu30,", "\ru30,")
    )
    write(sftp, "users_2026-01-01.csv", text + "\n", encoding)
    reading = Source(books, sftp, Format(encoding)).open(Part("users", None))
    found = sum(len(it.rows) + len(it.rejected) for it in reading.batches())
    assert found == 200
    reading.check(200)
    for wrong in (199, 201):
        with pytest.raises(PartError, match=f"200 rows, {wrong} were read") as error:
            reading.check(wrong)
        assert error.value.code == "sums"
    reading.close()


@pytest.mark.parametrize("ends", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("more", [-2, -1, 0, 1, 2, LONGEST_LINE])
def test_a_long_line_is_one_line_wherever_it_is_cut(ends: str, more: int) -> None:
    """Also between the two characters that end it."""
    written = ["a", "x" * (LONGEST_LINE + more), "", "b"]
    copy = io.BytesIO("".join(each + ends for each in written).encode())
    found = list(_lines(io.TextIOWrapper(copy, "utf-8", newline="")))
    assert [each.rstrip("\r\n") for each in found] == [each[: LONGEST_LINE + 1] for each in written]
    assert all(each[-1] in "\r\n" for each in found)
