"""The pipeline that counts: law *agree*, with one worker and four, and with bundles that fail."""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from pipelines import count as module
from pipelines.count import Fold, Part, Work, count, main
from pipelines.files import write_whole
from pipelines.running import Running, options_of
from shared.catalog import libra
from shared.counting import Counted, Snapshot
from shared.counting.engine import Engine
from shared.counting.index import index
from shared.counting.result import Asked, read
from shared.counting.scan import KeyRange, scan
from shared.errors import PipelineError
from shared.recompute import Recompute
from tests.emulator.test_counting_agree import fill, of_every_kind
from tests.support.kitchen import Kitchen
from tests.support.recomputing import exact_at, next_second

LOCAL = {
    1: ["--direct_num_workers=1"],
    4: ["--direct_num_workers=4", "--direct_running_mode=multi_threading"],
}


def counted(work: Work, folder: Path, workers: int, parts: int = 5) -> Counted:
    """What the pipeline counts."""
    result = folder / "result.jsonl"
    count(work, Running(options_of(LOCAL[workers])), str(result), parts)
    asked = Asked.of(work.source, work.home, work.read_time)
    with result.open(encoding="utf-8") as lines:
        return read(lines, asked, work.source, lambda _: lambda cell: cell).counted


@pytest.mark.parametrize("workers", LOCAL)
def test_law_agree(kitchen: Kitchen, tmp_path: Path, workers: int) -> None:
    """Every kind of declaration over every kind of bad entry: beam = scan = the fold."""
    at = fill(kitchen, random.Random(workers), 250)
    for source in (of_every_kind(), libra(kitchen.settings)):
        work = Work(kitchen.settings, source, kitchen.home, at)
        found = counted(work, tmp_path, workers)
        assert found.totals == exact_at(kitchen.store, source, at)
        assert found == scan(Snapshot(kitchen.store, source, kitchen.home, at))
    assert found == index(Snapshot(kitchen.store, source, kitchen.home, at))


FAILED: list[KeyRange] = []
"""The ranges that failed; a bundle that is tried again has a copy of the DoFn."""
DICE = random.Random(11)


class Flaky(Fold):
    """Fails at random, three times at most, when it has handed over some of what it found."""

    def process(self, ids: KeyRange) -> Iterator[tuple[str, Part]]:
        """Count a range, or fail."""
        parts = list(super().process(ids))
        yield from parts[: len(parts) // 2]
        if len(FAILED) < 3 and DICE.random() < 0.5:
            FAILED.append(ids)
            raise OSError("the worker lost its connection")
        yield from parts[len(parts) // 2 :]


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges fail."""
    FAILED.clear()
    DICE.seed(11)
    monkeypatch.setattr(module, "Fold", Flaky)


class Retrying(Running):
    """A runner that tries a bundle four times, as Dataflow does; the one in this process never does."""

    def pipeline(self) -> beam.Pipeline:
        """An empty pipeline for it."""
        return beam.Pipeline(runner=BundleBasedDirectRunner(), options=options_of([]))


@pytest.mark.usefixtures("flaky")
def test_a_bundle_that_is_tried_again_counts_once(kitchen: Kitchen, tmp_path: Path) -> None:
    """A DoFn that fails at random, with half of a range handed over, leaves what one pass finds."""
    at = fill(kitchen, random.Random(5), 200)
    work = Work(kitchen.settings, of_every_kind(), kitchen.home, at)
    result = tmp_path / "result.jsonl"
    count(work, Retrying(options_of([])), str(result), 8)
    assert len(FAILED) == 3
    with result.open(encoding="utf-8") as lines:
        found = read(lines, Asked.of(work.source, work.home, at), work.source, lambda _: lambda cell: cell)
    assert found.counted == scan(Snapshot(kitchen.store, work.source, kitchen.home, at))
    assert found.reads <= found.counted.entries + 8  # a range without entries is billed one read


@pytest.mark.usefixtures("flaky")
def test_a_pipeline_that_fails_writes_no_result(kitchen: Kitchen, tmp_path: Path) -> None:
    """Absent, or whole: the runner in this process gives up at the first failure."""
    at = fill(kitchen, random.Random(6), 50)
    with pytest.raises(PipelineError, match="the worker lost its connection"):
        counted(Work(kitchen.settings, libra(kitchen.settings), kitchen.home, at), tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def environment(kitchen: Kitchen) -> dict[str, str]:
    """Where the entries are."""
    return {
        "GOOGLE_CLOUD_PROJECT": str(kitchen.settings.project),
        "FIRESTORE_EMULATOR_HOST": str(kitchen.settings.emulator_host),
    }


def test_a_result_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """Neither the result nor a part of it, which would stay in a bucket for ever."""

    def lines() -> Iterator[str]:
        yield "the first"
        raise ConnectionError("a part cannot be read")

    with pytest.raises(ConnectionError):
        write_whole(str(tmp_path / "result"), lines())
    assert list(tmp_path.iterdir()) == []


def test_a_run_by_beam_corrects_what_a_run_by_scan_would(kitchen: Kitchen) -> None:
    """In a process of its own, with two workers; nothing is wrong then."""
    fill(kitchen, random.Random(3), 120)
    settings = replace(kitchen.settings, lag=timedelta(0), bucket=timedelta(seconds=1))
    next_second()
    options = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    engine = Engine(options, python=sys.executable, environment=os.environ | environment(kitchen))
    by_beam = Recompute(kitchen.store, kitchen.source, kitchen.home, settings, beam=engine)
    expected = by_beam.verify("scan")
    found = by_beam.run("beam")
    assert found.drift == expected.drift > 0
    assert set(found.corrections) == set(expected.corrections)
    assert found.why.startswith("asked for; DirectRunner, workers: 2, ")
    assert found.why.endswith("ranges: 2")
    assert [by_beam.verify(each).drift for each in ("scan", "index")] == [0, 0]


@pytest.mark.parametrize(
    ("options", "changed", "says"),
    [
        (["--direct_num_worker=2"], {}, "unknown to Beam"),
        (["--runner=DataflowRunner"], {}, "--temp_location is not set"),
        (["--declarations=0"], {}, "other code, or other LIBRA_ variables"),
        ([], {"LIBRA_TIME_ZONE": "Mars"}, "LIBRA_TIME_ZONE='Mars'"),
    ],
)
def test_what_cannot_be_counted_is_named(
    tmp_path: Path, call: Callable[..., str], options: list[str], changed: dict[str, str], says: str
) -> None:
    """An option, a place for files, other declarations or a setting: one line of JSON, and no result."""
    assert says in json.loads(call(f"--result={tmp_path / 'result'}", *options, **changed))["reason"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def call(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Calls the command in this process, where it fails; what it says."""

    def call(*arguments: str, **changed: str) -> str:
        for name, value in {**environment(kitchen), **changed}.items():
            monkeypatch.setenv(name, value)
        assert main(arguments) == 1
        return capsys.readouterr().out

    return call
