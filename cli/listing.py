"""Lists of any length, as a table, as JSON and as CSV; and the keys that an operator types."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click

from shared.aggregation import Aggregation, Key, Part
from shared.catalog import libra
from shared.errors import Unanswerable
from shared.settings import Settings
from shared.windows import LONGEST, Page

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
T = TypeVar("T")

SHOWN = 20
"""How many rows a list has, unless the operator says otherwise."""


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """What a shell completes the name of an aggregation to."""
    return [each.name for each in libra(Settings()).aggregations if each.name.startswith(incomplete)]


aggregation_name = click.argument("aggregation", shell_complete=_names)
as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print only CSV.")


def listed(function: AnyFunction) -> AnyFunction:
    """How long a list is."""
    everything = click.option("--all", "everything", is_flag=True, help="All of them.")
    limit = click.option(
        "--limit", type=click.IntRange(1), default=SHOWN, show_default=True, help="At most so many."
    )
    return limit(everything(as_csv(function)))


def collect(
    page: Callable[[str | None, int], Page[T]], *, limit: int, everything: bool
) -> tuple[list[T], bool]:
    """The first ``limit`` of a list, or all of it; and whether there are more."""
    found: list[T] = []
    after = None
    while True:
        size = LONGEST if everything else min(LONGEST, limit - len(found))
        one = page(after, size)
        found += one.items
        after = one.after
        if after is None or (not everything and len(found) >= limit):
            return found, after is not None


def one_format(*, as_json: bool, as_csv: bool) -> None:
    """Refuse two formats at once."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: use one of them.")


def print_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as CSV."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)


def say_more(more: bool) -> None:
    """Tell on standard error that a list goes on."""
    if more:
        click.echo("There are more: use --limit or --all.", err=True)


def typed_key(aggregation: Aggregation, texts: Sequence[str]) -> str | Mapping[str, str]:
    """The key that an operator typed: a raw value; for a composite key PART=VALUE for each part, or an id.

    Raises:
        Unanswerable: saying what is expected.
    """
    if len(texts) == 1:
        return texts[0]
    names = sorted((part.name for part in aggregation.parts), key=len, reverse=True)
    if len(names) == 1:
        raise Unanswerable(
            f"{aggregation.name}: found {len(texts)} words, {' '.join(texts)!r:.80}; expected one KEY: put "
            "it in quotes if it has spaces"
        )
    parts: dict[str, str] = {}
    for text in texts:
        name = next((each for each in names if text.startswith(f"{each}=") and each not in parts), None)
        if name is None:
            expected = " ".join(f"{part.name}=VALUE" for part in aggregation.parts)
            raise Unanswerable(f"{aggregation.name}: found {text!r:.80}; expected {expected}")
        parts[name] = text.removeprefix(f"{name}=")
    return parts


def key_parts(aggregation: Aggregation, key: Key | None) -> Iterator[Part | None]:
    """A key's value for each part of an aggregation's key."""
    if isinstance(key, tuple):
        yield from key
    elif key is None:
        yield from (None for _ in aggregation.parts)
    else:
        yield key


def key_text(aggregation: Aggregation, key: Key | None, total_id: str) -> str:
    """A key for a table."""
    if key is None:
        return f"({total_id})"
    if isinstance(key, tuple):
        pairs = zip(aggregation.parts, key, strict=True)
        return " ".join(f"{part.name}={_text(value)}" for part, value in pairs)
    return _text(key)


def _text(part: Part) -> str:
    return str(part).lower() if isinstance(part, bool) else str(part)
