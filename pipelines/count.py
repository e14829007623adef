"""`python -m pipelines.count`: count the entries of a source at a read time, on many machines at once.

The collection's ids are cut into ranges. A worker reads a range of the snapshot and folds it with the code of
the strategy `scan`; what all ranges found is added up by cell. A bundle that fails is read again, and Beam
keeps the output of one attempt only: nothing is written but files under names of this pipeline's own, so a
range cannot count twice. The result is one file, whole or absent: see `shared.counting.result`.

It reads entries and nothing else. It takes no lease, and seals, compares and corrects nothing.
"""

import argparse
import json
import os
import string
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.files import gathered, scratch, write_whole
from pipelines.running import Running, options_of, supervised
from shared import log
from shared.aggregation import Cell, Extremes, Home, Source, Totals, accumulate, widen
from shared.catalog import sources
from shared.counting.result import Asked, declarations_of, joined, line_of
from shared.counting.scan import KeyRange, between, cuts_of, scan_ranges
from shared.counting.snapshot import Snapshot
from shared.errors import LibraError, PipelineError
from shared.settings import Settings
from shared.store import Store
from shared.store.client import FirestoreStore

RANGES = 1_024
"""Ranges on Dataflow: a million entries each where there are a billion, a minute or two of one thread."""

AGE = timedelta(minutes=1)
"""How long ago the read time is where none is asked for: later than any commit still under way."""

IDS = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""The characters of Firestore's own ids, in the order of ids."""

ENTRIES = "entries"
"""The counter that a running job shows: entries read so far."""

Part: TypeAlias = tuple[str, Mapping[str, int], Mapping[str, int]]
"""An aggregation, and what a cell of it adds up to: measures and extremes. Plain values, which Beam sends as
they are."""

FIGURES = ""
"""The key of how many entries and reads there were, beside those of the cells."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is counted, and where it is."""

    settings: Settings
    source: Source
    home: Home
    read_time: datetime

    def snapshot(self, store: Store, beat: Callable[[int], None] = lambda _: None) -> Snapshot:
        """The entries, read in one thread."""
        return Snapshot(store, self.source, self.home, self.read_time, workers=1, beat=beat)


class Fold(beam.DoFn):
    """Reads a range of a snapshot and adds its entries up: a `Part` for each cell, and one of `FIGURES`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._read = Metrics.counter("libra", ENTRIES)

    @property
    def source(self) -> Source:
        """Whose cells these are."""
        return self._work.source

    def setup(self) -> None:
        """Open a channel in the worker's own process."""
        self._store = FirestoreStore.connect(self._work.settings)

    def teardown(self) -> None:
        """Close it."""
        self._store.close()

    def process(self, ids: KeyRange) -> Iterator[tuple[str, Part]]:
        """Count a range."""
        read = 0

        def beat(entries: int) -> None:
            nonlocal read
            self._read.inc(entries - read)
            read = entries

        snapshot = self._work.snapshot(self._store, beat)
        found = scan_ranges(snapshot, [ids])
        for cell in found.totals.keys() | found.extremes.keys():
            part: Part = (cell.aggregation, found.totals.get(cell, {}), dict(found.extremes.get(cell, {})))
            yield json.dumps([cell.aggregation, cell.key]), part
        yield FIGURES, ("", {"entries": found.entries, "reads": snapshot.reads}, {})


class Together(beam.CombineFn):
    """Parts of one cell, in any order and grouping."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def create_accumulator(self) -> Part:
        """Nothing yet."""
        return "", {}, {}

    def add_input(self, kept: Part, part: Part) -> Part:
        """One more."""
        return self.merge_accumulators([kept, part])

    def merge_accumulators(self, parts: Iterable[Part]) -> Part:
        """The sum, and the widest extremes."""
        totals: Totals = {}
        values: Extremes = {}
        cell = Cell("", "")
        for aggregation, measures, extremes in parts:
            cell = Cell(aggregation or cell.aggregation, "")
            accumulate(totals, {Cell("", ""): measures})
            if extremes:
                widen(self._source, values, {cell: extremes})
        return cell.aggregation, totals.get(Cell("", ""), {}), values.get(cell, {})

    def extract_output(self, kept: Part) -> Part:
        """As it is."""
        return kept


def cells(ranges: beam.PCollection, fold: Fold) -> tuple[beam.PCollection, beam.PCollection]:
    """The lines of the cells, and a line of the figures, of some ranges of ids.

    The ranges are dealt out again before they are read, so that a worker does not keep all of them.
    """
    found = (
        ranges
        | "Deal out" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(fold)
        | "Add up" >> beam.CombinePerKey(Together(fold.source))
    )
    lines = found | "Cells" >> beam.Filter(lambda each: each[0] != FIGURES) | "Cell" >> beam.Map(_line)
    figures = found | "Figures" >> beam.Filter(lambda each: each[0] == FIGURES)
    return lines, figures | "Figure" >> beam.Map(lambda each: json.dumps(each[1][1]))


def _line(found: tuple[str, Part]) -> str:
    cell, (_, measures, extremes) = found
    aggregation, key = json.loads(cell)
    return line_of(Cell(aggregation, key), measures, extremes)


def even(parts: int) -> list[str]:
    """Cuts for ids that Firestore made, where the server names none (the emulator): right for any ids, and of
    a like size for these."""
    pairs = [first + second for first in IDS for second in IDS]
    return [pairs[len(pairs) * part // parts] for part in range(1, parts)]


def ranges_of(snapshot: Snapshot, parts: int, *, cut: bool) -> list[KeyRange]:
    """About ``parts`` ranges of ids. ``cut``: make cuts where the server names none."""
    cuts = cuts_of(snapshot, parts) if parts > 1 else []
    return between(cuts or (even(parts) if cut else []))


def count(work: Work, running: Running, result: str, parts: int | None = None) -> None:
    """Count, and write the result.

    Args:
        work: what to count.
        running: where.
        result: the file to write.
        parts: about how many ranges to cut.

    Raises:
        LibraError: Firestore cannot be read, or the pipeline failed. Nothing was written.
    """
    store = FirestoreStore.connect(work.settings)
    try:
        cut = work.settings.emulator_host is not None
        ranges = ranges_of(work.snapshot(store), parts or running.ranges(RANGES), cut=cut)
    finally:
        store.close()
    project = store.database.split("/")[1]  # a worker's credentials may know another
    fold = Fold(replace(work, settings=replace(work.settings, project=project)))
    with scratch(running.temporary) as folder:
        pipeline = running.pipeline()
        lines, figures = cells(pipeline | "Ranges" >> beam.Create(ranges), fold)
        _ = lines | "Write cells" >> beam.io.WriteToText(f"{folder}/cells")
        _ = figures | "Write figures" >> beam.io.WriteToText(f"{folder}/figures", num_shards=1)
        how = f"{running.run(pipeline, ENTRIES)}, ranges: {len(ranges):,}"
        ((total,),) = map(list, gathered(f"{folder}/figures*"))
        asked = Asked.of(work.source, work.home, work.read_time)
        parts_found = gathered(f"{folder}/cells*")
        write_whole(result, joined(parts_found, asked, json.loads(total), how))


def main(arguments: Sequence[str]) -> int:
    """Count as the arguments say; a line of JSON on standard output says why that failed."""
    given, more = _parser().parse_known_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        log.configure(settings.log_level, sys.stderr)
        read_time = given.read_time or datetime.now(UTC).replace(microsecond=0) - AGE
        work = Work(settings, *sources(settings)[given.source], read_time)
        _same(work.source, given.declarations)
        running = Running(options_of(more))
        with supervised(running, given.supervised):
            count(work, running, given.result, given.ranges)
    except LibraError as error:
        print(json.dumps({"error": type(error).__name__, "reason": str(error)}), flush=True)  # noqa: T201 - the answer
        return 1
    return 0


def _same(source: Source, asked: str | None) -> None:
    found = declarations_of(source)
    if asked not in {None, found}:
        raise PipelineError(
            f"the pipeline's declarations of {source.name} have the digest {found}, and {asked} was asked "
            "for: the pipeline has other code, or other LIBRA_ variables"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.count", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("--source", choices=list(sources(Settings())), default="libra", help="whose entries (libra)")
    add("--read_time", type=_instant, help="the snapshot, such as 2026-11-25T18:40:00+00:00 (a minute ago)")
    add("--declarations", help="the digest that the declarations must have")
    add("--result", required=True, help="the file to write: a path, or gs://BUCKET/NAME")
    add("--ranges", type=int, help=f"ranges of ids (one for each local worker; {RANGES} on Dataflow)")
    add("--supervised", action="store_true", help="end when standard input ends")
    return parser


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} names no zone: write {text}+00:00")
    return instant.astimezone(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
