"""How results look in a terminal of 80 columns, and in a pipe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH = 80
BAR = 14
BLOCKS = " ▏▎▍▌▋▊▉█"
NAME = 14


def shown(key: object) -> Text:
    """A key as it can be printed: whatever a device sent, it must not steer the terminal."""
    if key == "":
        return Text('""', style="dim")
    return Text("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(key)))


def bar(amount: int, most: int) -> Text:
    """A bar as long as its share of the longest."""
    eighths = round(amount / most * BAR * 8) if most else 0
    full, rest = divmod(max(eighths, 1 if amount else 0), 8)
    return Text("█" * full + BLOCKS[rest].strip(), style="cyan")


def totals_table(
    title: str, totals: Mapping[Any, int], *, most_rows: int, by_key: bool = False, name: int = NAME
) -> Table:
    """Totals with bars: the largest first, or in the order of their keys; the rest in one row."""
    table = Table(
        title=title,
        box=None,
        show_header=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        title_style="bold",
    )
    table.add_column(no_wrap=True, overflow="ellipsis", width=name)
    table.add_column(justify="right", no_wrap=True, width=6)
    table.add_column(no_wrap=True, width=BAR)
    rows = sorted(totals.items(), key=lambda row: row[0] if by_key else -row[1])
    most = max(totals.values(), default=0)
    for key, count in rows[:most_rows]:
        table.add_row(shown(key), f"{count:,}", bar(count, most))
    if rest := rows[most_rows:]:
        table.add_row(Text(f"{len(rest)} more", style="dim"), f"{sum(count for _, count in rest):,}", "")
    return table


def side_by_side(left: RenderableType, right: RenderableType) -> Table:
    """Two things beside each other in the width of the page."""
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    grid.add_column(width=WIDTH // 2 - 1)
    grid.add_column(width=WIDTH // 2 - 1)
    grid.add_row(left, right)
    return grid


def figures_table(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    """Names and figures."""
    table = Table(
        title=title,
        box=None,
        show_header=False,
        padding=(0, 2, 0, 0),
        title_justify="left",
        title_style="bold",
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for name, figure in rows:
        table.add_row(name, figure)
    return table


def page() -> Console:
    """Standard output, never wider than the page; without control codes where it is no terminal."""
    console = Console(highlight=False)
    return Console(highlight=False, width=min(console.width, WIDTH))


def progress_bars(console: Console) -> Progress:
    """Bars for work that is under way; where the output is no terminal, only their last state is printed."""
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


@contextmanager
def counting_up(console: Console, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """One bar; yields what moves it on."""
    with progress_bars(console) as progress:
        task = progress.add_task(label, total=total)
        yield lambda by: progress.advance(task, by)
