"""Old dates go from both tables at once, by the statements of docs/usage.md."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.usage.books import Aside, Books
from shared.parts import Hour, Name, Part
from shared.postgres import Postgres
from tests.support.usage import LATE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "usage.md"
OLD, NEW = datetime(2024, 12, 31, 12, tzinfo=UTC), datetime(2026, 12, 1, 12, tzinfo=UTC)


def part(hour: datetime, value: int) -> Part:
    """Requests of an hour."""
    return Part(Name("acme", hour.date(), "requests", hour, "i1"), value)


def statements(postgres: Postgres, beginning: str) -> None:
    """Execute the block of the page that has a statement."""
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (block,) = [it for it in blocks if beginning in it]
    with postgres._pool.connection() as connection:
        connection.execute(block.replace("BEGIN;", "").replace("COMMIT;", ""))


def used(postgres: Postgres, table: str) -> list[tuple[object, ...]]:
    """What there is by date."""
    statement = f"SELECT date::text, metric_value FROM {table} ORDER BY 1"
    return postgres.transaction(lambda it: it.execute(statement).fetchall())


@pytest.fixture
def books(postgres: Postgres) -> Books:
    """Books with usage of two dates."""
    found = Books(postgres)
    found.migrate()
    found.join([part(OLD, 5), part(NEW, 7)])
    return found


def test_what_is_deleted_is_on_no_bill_and_never_billed_by_a_flush(postgres: Postgres, books: Books) -> None:
    """It comes late, with its whole value, and an operator decides."""
    books.seal(OLD.replace(day=31, hour=23))
    statements(postgres, "DELETE FROM usage_part WHERE")
    assert used(postgres, "merchant_usage") == [("2026-12-01", 7)]
    assert books.verify() == []
    assert books.join([part(OLD, 6)]) == (0, 0, 1)
    assert books.aside() == [Aside(LATE, 1, 6)]


@pytest.mark.parametrize("block", ["DELETE FROM usage_part WHERE", "DROP TABLE usage_part_2026_12"])
def test_what_was_late_is_not_admitted_again_when_its_row_is_gone(
    postgres: Postgres, books: Books, block: str
) -> None:
    """What is due of a late part is what its row lacks, so the row's value must not become due."""
    if "DROP" in block:
        postgres.transaction(lambda it: it.execute("DELETE FROM usage_part WHERE date = '2026-12-01'"))
        statements(postgres, "ATTACH PARTITION")
        books.join([part(NEW, 7)])
    hour = OLD if "DELETE" in block else NEW
    sealed = "UPDATE usage_state SET sealed_through = '2026-12-01 13:00Z'"  # `seal` minds the server's clock
    postgres.transaction(lambda it: it.execute(sealed))
    books.join([part(hour, 9)])
    now = datetime(2026, 12, 2, 12, tzinfo=UTC)
    assert books.admit(Hour(now, now.date())) in {9 - 5, 9 - 7}
    statements(postgres, block)
    assert books.admit(Hour(now, now.date())) == 0
    books.join([part(hour, 9)])
    assert books.admit(Hour(now, now.date())) == 0
    books.join([part(hour, 10)])
    assert books.admit(Hour(now, now.date())) == 1


def test_a_partitioned_table_takes_parts_as_before(postgres: Postgres, books: Books) -> None:
    """Its rows, its views and its gains; a month of it is dropped with its totals."""
    postgres.transaction(lambda it: it.execute("DELETE FROM usage_part WHERE date = '2026-12-01'"))
    postgres.transaction(lambda it: it.execute("DELETE FROM merchant_usage WHERE date = '2026-12-01'"))
    statements(postgres, "ATTACH PARTITION")
    assert books.join([part(OLD, 6), part(NEW, 7)]) == (2, 8, 0)
    assert books.join([part(OLD, 6), part(NEW, 9)]) == (1, 2, 0)
    assert books.read_back([part(OLD, 6), part(NEW, 9)]) == [part(OLD, 6), part(NEW, 9)]
    for table in ("merchant_usage", "merchant_usage_hours"):
        assert used(postgres, table) == [("2024-12-31", 6), ("2026-12-01", 9)]
    statements(postgres, "DROP TABLE usage_part_2026_12")
    assert used(postgres, "merchant_usage") == [("2024-12-31", 6)]
    assert books.verify() == []
    assert books.migrate() == []
