"""The process that runs a pipeline: its result is taken, its failure is told, and it never outlives the run.

In the place of the pipeline stands a script; tests/pipelines has the real one.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local.process import wait_until
from shared.counting import engine, result
from shared.counting.engine import Engine
from shared.errors import LeaseLost, PipelineError, SnapshotTooOld
from tests.support.recomputing import World, exact_at

WRITES = """
import json
from datetime import datetime
from shared.aggregation import Home
from shared.catalog import libra
from shared.counting.result import Asked, joined, line_of
from shared.settings import Settings
asked = Asked(given["source"], "libra", datetime.fromisoformat(given["read_time"]), given["declarations"])
line = json.dumps(["aggregates_actions", "Served", {"count": 3}, {}])
with open(given["result"], "w") as file:
    for each in joined([[line]], asked, {"entries": 3, "reads": 5}, "as tested"):
        print(each, file=file)
"""
WAITS = """
import sys, time
open(os.environ["STARTED"], "w").close()
print(json.dumps({"entries": 17}), flush=True)
sys.stdin.read()
open(os.environ["ENDED"], "w").close()
"""


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Engine]:
    """An engine whose pipeline is a script; ``given`` holds its arguments."""
    monkeypatch.setattr(engine, "BEAT", 0.05)
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "__init__.py").touch()
    start = "import json, os, sys\ngiven = dict(it[2:].partition('=')[::2] for it in sys.argv[1:])\n"

    def made(script: str) -> Engine:
        (folder / "count.py").write_text(start + script, encoding="utf-8")
        found = {"STARTED": str(tmp_path / "started"), "ENDED": str(tmp_path / "ended")}
        monkeypatch.setattr(engine, "ROOT", tmp_path)
        root = str(Path(__file__).parents[2])
        return Engine(["--runner=Test"], environment=os.environ | found | {"PYTHONPATH": root})

    return made


def test_its_result_becomes_the_count_of_the_run(pipeline: Callable[[str], Engine]) -> None:
    """Entries and reads are those of the pipeline; the report says how it counted."""
    world = World()
    world.later(hours=1)
    report = world.recompute(beam=pipeline(WRITES)).verify("beam")
    assert (report.strategy, report.why, report.entries) == ("beam", "asked for; as tested", 3)
    assert [(each.document, each.exact) for each in report.corrections] == [("aggregates_actions/Served", 3)]
    assert report.reads == world.recompute().verify("scan").reads - 1 + 5  # a scan of nothing is one read
    run = world.recompute(beam=pipeline(WRITES)).run("beam")
    assert run.corrections == report.corrections


def test_the_lease_is_kept_while_its_result_is_read(
    pipeline: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result of ten million cells takes longer to read than a lease lasts."""
    monkeypatch.setattr(result, "CHUNK", 1)
    monkeypatch.setattr(engine, "BEAT", 60)  # the pipeline ends before the run would look up from waiting
    world = World()
    world.later(hours=1)
    beats: list[int] = []
    writes = WRITES + "print(json.dumps({'entries': 3}))"
    world.recompute(beam=pipeline(writes), progress=lambda _, entries: beats.append(entries)).verify("beam")
    assert beats[-2:] == [3, 3]


FAILURES = {
    "print(json.dumps({'error': 'PipelineError', 'reason': 'no worker'})); sys.exit(1)": (
        PipelineError,
        "no worker. Nothing was corrected",
    ),
    "print(json.dumps({'error': 'SnapshotTooOld', 'reason': 'gone'})); sys.exit(1)": (
        SnapshotTooOld,
        "gone",
    ),
    "print('not JSON'); sys.exit(3)": (PipelineError, "ended with status 3"),
    WRITES.replace('given["declarations"]', '"0"'): (PipelineError, "the result is of declarations '0'"),
}


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_its_failure_is_the_failure_of_the_run(pipeline: Callable[[str], Engine], number: int) -> None:
    """With its reason; nothing is sealed or corrected, and the lease is given back."""
    script, (error, says) = list(FAILURES.items())[number]
    world = World()
    world.serve(2)
    world.later(hours=1)
    with pytest.raises(error, match=says):
        world.recompute(beam=pipeline(script)).run("beam")
    assert "timestamp" not in world.state()
    assert world.runs()[-1]["state"] == "failed"
    assert world.run("scan").drift == 0
    assert exact_at(world.memory, world.source, world.clock.now)


def test_a_run_that_lost_its_lease_ends_its_pipeline(
    pipeline: Callable[[str], Engine], tmp_path: Path
) -> None:
    """Progress is told between; the pipeline is gone when the error is raised."""
    world = World()
    world.later(hours=1)
    told = []

    def progress(_: str, entries: int) -> None:
        if (tmp_path / "started").exists():
            told.append(entries)
        if 17 in told:
            raise LeaseLost("another run has begun")

    begun = time.monotonic()
    with pytest.raises(LeaseLost):
        world.recompute(beam=pipeline(WAITS), progress=progress).run("beam")
    assert time.monotonic() - begun < engine.GRACE


def test_a_pipeline_ends_with_a_run_that_is_killed(pipeline: Callable[[str], Engine], tmp_path: Path) -> None:
    """The process that holds the lease is killed outright: the pipeline's standard input ends."""
    counting = pipeline(WAITS)
    world = World()
    reading, writing = os.pipe()  # a standard input that does not end with the process that is killed
    if not (child := os.fork()):
        try:
            os.dup2(reading, 0)
            os.close(writing)
            world.recompute(beam=counting).run("beam")
        finally:
            os._exit(0)
    wait_until((tmp_path / "started").exists, seconds=60, what="the pipeline's start")
    os.kill(child, 9)
    os.waitpid(child, 0)
    wait_until((tmp_path / "ended").exists, seconds=60, what="the pipeline's end")
    os.close(reading)
    os.close(writing)
