"""Keys as an operator types them, and lists of any length."""

from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from cli.listing import collect, key_text, typed_key
from cli.main import main
from shared.aggregation import Aggregation, FieldKey, TimeKey
from shared.errors import Unanswerable
from shared.windows import Page, parse_key

FOODS = Aggregation("foods", FieldKey("ingredient"))
MIXED = Aggregation(
    "mixed",
    (FieldKey("device.model"), TimeKey("timestamp", "date", ZoneInfo("UTC")), FieldKey("is_new", kind=bool)),
)


@pytest.mark.parametrize("key", ["", "a=b", "date=2025", "Mac/Cheese", "..", "%2F", "🧂", "x" * 1_400])
def test_a_simple_key_is_taken_as_it_is(key: str) -> None:
    """Also one that looks like PART=VALUE."""
    assert parse_key(FOODS, typed_key(FOODS, [key])) == key


def test_a_composite_key_is_typed_by_parts_or_as_an_id() -> None:
    """In any order; a value may hold what separates."""
    typed = typed_key(MIXED, ["is_new=true", "device.model=a=b|c", "date=2025-09-04"])
    key = ("a=b|c", "2025-09-04", True)
    assert parse_key(MIXED, typed) == key
    assert parse_key(MIXED, typed_key(MIXED, ["a=b%7Cc|2025-09-04|true"])) == key
    assert key_text(MIXED, key, "") == "device.model=a=b|c date=2025-09-04 is_new=true"
    assert key_text(MIXED, None, "junk") == "(junk)"


@pytest.mark.parametrize(
    ("aggregation", "texts", "said"),
    [
        (FOODS, ["Kettle", "Chips"], "foods: found 2 words, 'Kettle Chips'; expected one KEY"),
        (
            MIXED,
            ["date=2025-09-04", "model=a"],
            "'model=a'; expected device.model=VALUE date=VALUE is_new=VALUE",
        ),
        (
            MIXED,
            ["date=2025-09-04", "date=2025-09-05"],
            "mixed: found 'date=2025-09-05'; expected",
        ),
    ],
)
def test_what_is_no_key_says_what_is_expected(aggregation: Aggregation, texts: list[str], said: str) -> None:
    """With the parts by name."""
    with pytest.raises(Unanswerable, match=said):
        typed_key(aggregation, texts)


@pytest.mark.parametrize(
    ("limit", "everything", "expected", "more"),
    [(3, False, 3, True), (2_500, False, 2_500, False), (1_001, False, 1_001, True), (1, True, 2_500, False)],
)
def test_a_list_is_collected_from_pages(limit: int, everything: bool, expected: int, more: bool) -> None:
    """No page is longer than a page may be."""

    def page(after: str | None, size: int) -> Page[int]:
        begin = int(after or 0)
        assert 1 <= size <= 1_000
        end = min(2_500, begin + size)
        return Page(tuple(range(begin, end)), str(end) if end < 2_500 else None)

    assert collect(page, limit=limit, everything=everything) == (list(range(expected)), more)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("libra tot", ["totals"]),
        ("libra totals aggregates_time", ["aggregates_time_hours", "aggregates_time_dates"]),
        ("libra explain aggregates_c", ["aggregates_categories"]),
        ("libra runs --a", ["--all"]),
    ],
)
def test_a_shell_completes_commands_options_and_aggregations(words: str, expected: list[str]) -> None:
    """By click's own completion."""
    environment = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_LIBRA_COMPLETE": "bash_complete",
    }
    run = CliRunner().invoke(main, prog_name="libra", env=environment)
    assert [line.partition(",")[2] for line in run.output.splitlines()] == expected
