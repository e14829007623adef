"""A `merchant_usage` that is there is taken over with every row, or left as it is."""

from datetime import UTC, datetime

import pytest

from services.usage.books import Books
from shared.errors import MigrationError
from shared.parts import MOST, Name, Part
from shared.postgres import Postgres

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
OLD = """
CREATE TABLE merchant_usage (id serial PRIMARY KEY, merchant_id varchar(64), date date,
  metric_type varchar(32), metric_value integer, created_at timestamptz DEFAULT now());
"""


def part(merchant: str, value: int) -> Part:
    """Requests of noon."""
    return Part(Name(merchant, NOON.date(), "requests", NOON, "i1"), value)


def usage(postgres: Postgres) -> dict[tuple[object, ...], object]:
    """`merchant_usage`, by merchant, date and metric."""
    statement = "SELECT merchant_id, date::text, metric_type, metric_value FROM merchant_usage"
    return {row[:3]: row[3] for row in postgres.transaction(lambda it: it.execute(statement).fetchall())}


def test_a_table_with_rows_is_taken_over_with_every_row(postgres: Postgres) -> None:
    """Its rows have parts of their own from then on, and a flush adds to them."""
    postgres.transaction(lambda it: it.execute(OLD))
    rows = (
        "INSERT INTO merchant_usage (merchant_id, date, metric_type, metric_value)"
        " SELECT 'm' || n % 10, date '2026-11-01' + n / 10, 'requests', n FROM generate_series(0, 249) n"
    )
    postgres.transaction(lambda it: it.execute(rows))
    before = usage(postgres)
    assert len(before) == 250
    books = Books(postgres)
    books.migrate()
    assert usage(postgres) == before
    assert books.verify() == []
    books.join([part("m3", 1_000)])
    key = ("m3", "2026-11-25", "requests")
    assert usage(postgres) == before | {key: 1_243}
    assert books.verify() == []
    assert books.join([part("a new one with a long name " * 5, MOST)]).gained == MOST


@pytest.mark.parametrize(
    "key",
    [
        "",
        "CREATE UNIQUE INDEX old ON merchant_usage (metric_type, merchant_id, date);",
        """ALTER TABLE merchant_usage ALTER merchant_id TYPE text, ALTER metric_type TYPE text,
          ALTER metric_value TYPE bigint;  -- a change of types would build the index anew
        CREATE UNIQUE INDEX old ON merchant_usage (merchant_id, date, metric_type);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'old'::regclass;""",
    ],
    ids=["none", "valid", "invalid"],
)
def test_whatever_index_is_there_a_flush_adds_to_the_rows(postgres: Postgres, key: str) -> None:
    """ON CONFLICT needs an index that is valid and checks at once: one is made, where there is none."""
    postgres.transaction(lambda it: it.execute(OLD + key))
    rows = (
        "INSERT INTO merchant_usage (merchant_id, date, metric_type, metric_value)"
        " VALUES ('m', '2026-11-25', 'requests', 5)"
    )
    postgres.transaction(lambda it: it.execute(rows))
    books = Books(postgres)
    books.migrate()
    assert books.join([part("m", 1_000)]).gained == 1_000
    assert usage(postgres) == {("m", "2026-11-25", "requests"): 1_005}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "INSERT INTO merchant_usage VALUES (1, 'a', '2026-1-1', 'r', 1), (2, 'a', '2026-1-1', 'r', 2)",
            "1 keys have",
        ),
        ("INSERT INTO merchant_usage VALUES (1, NULL, '2026-11-25', 'r', 1)", "1 rows hold NULL"),
        (
            """ALTER TABLE merchant_usage ALTER metric_value TYPE numeric;
            INSERT INTO merchant_usage VALUES (1, 'a', '2026-11-25', 'r', 1.5)""",
            "a fraction",
        ),
        (
            "ALTER TABLE merchant_usage ALTER metric_value TYPE double precision",
            "metric_value is double precision",
        ),
        ("ALTER TABLE merchant_usage DROP COLUMN date", "date is missing"),
        ("ALTER TABLE merchant_usage ADD COLUMN plan text NOT NULL", "plan must have a value"),
        (
            """ALTER TABLE merchant_usage
              ADD CONSTRAINT old UNIQUE (merchant_id, date, metric_type) DEFERRABLE""",
            "ALTER TABLE merchant_usage DROP CONSTRAINT old",
        ),
    ],
)
def test_a_table_that_cannot_be_taken_over_is_left_as_it_is(
    postgres: Postgres, change: str, says: str
) -> None:
    """The message says what stands in the way."""
    postgres.transaction(lambda it: it.execute(OLD + change))
    with pytest.raises(MigrationError, match=says):
        Books(postgres).migrate()
    tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'usage%' OR tablename = 'libra_migration'"
    assert postgres.transaction(lambda it: it.execute(tables).fetchall()) == [(0,)]
