"""How totals look in a terminal, as JSON and as CSV."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from cli.comparison import iso
from cli.listing import key_parts, key_text
from cli.report import bar, shown
from shared.aggregation import Aggregation, TimeKey
from shared.windows import Proof, Total

COLUMNS = 3
"""The most columns besides the key that a table of 80 characters shows."""


def default_order(aggregation: Aggregation) -> str:
    """Times in their order, other keys by what they count."""
    return "key" if isinstance(aggregation.key, TimeKey) else "-count"


def plain(aggregation: Aggregation, one: Total) -> dict[str, object]:
    """A total for JSON."""
    return {
        "id": one.id,
        "key": None if one.key is None else aggregation.stored_key(one.key),
        **one.values,
        **one.extremes,
        "pending": dict(one.pending),
        "archived": dict(one.archived),
        "updated_at": iso(one.updated_at),
    }


def proven_plain(aggregation: Aggregation, now: Proof) -> dict[str, object]:
    """How far totals are proven, for JSON."""
    return {"exact_through": iso(now.exact_through(aggregation.name)), "settled": now.settled}


def proven_line(aggregation: Aggregation, now: Proof) -> Text:
    """How far the totals of an aggregation are proven."""
    through = now.exact_through(aggregation.name)
    if through is None:
        return Text(f"{aggregation.name}: nothing is proven yet: run libra recompute.", style="bold yellow")
    said = Text(f"{aggregation.name}, proven up to {through:%Y-%m-%d %H:%M:%S} UTC.", style="bold green")
    if not now.settled:
        said.append("\nA run is under way, or failed behind its seal: see libra status.", style="yellow")
    return said


def totals_table(aggregation: Aggregation, found: list[Total]) -> Table:
    """Totals with what is pending, and a bar for each."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("key", overflow="ellipsis", no_wrap=True, max_width=36)
    columns = aggregation.columns[:COLUMNS]
    for name in (*columns, "pending"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    most = max((each.values["count"] for each in found), default=0)
    for each in found:
        numbers = [f"{each.values[name]:,}" for name in columns]
        pending = each.pending["count"]
        table.add_row(
            shown(key_text(aggregation, each.key, each.id)),
            *numbers,
            f"{pending:+,}" if pending else "",
            bar(max(0, each.values["count"]), most) if len(columns) == 1 else "",
        )
    return table


def csv_header(aggregation: Aggregation) -> list[str]:
    """What the columns of CSV are called."""
    columns = aggregation.columns
    beside = [f"{about}_{name}" for about in ("pending", "archived") for name in columns]
    return ["id", *(part.name for part in aggregation.parts), *columns, *beside, "exact_through"]


def csv_row(aggregation: Aggregation, one: Total) -> list[object]:
    """A total for CSV."""

    def numbers(of: Mapping[str, int]) -> list[int]:
        return [of[name] for name in aggregation.columns]

    return [
        one.id,
        *key_parts(aggregation, one.key),
        *numbers(one.values),
        *numbers(one.pending),
        *numbers(one.archived),
        iso(one.exact_through),
    ]
