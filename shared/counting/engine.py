"""The strategy `beam`: a pipeline in a process of its own counts, and the run waits for its result.

The run holds the lease here, in the process that waits, and renews it meanwhile. The pipeline knows neither
the lease nor the totals: it reads entries at one time and writes a file. So what becomes of it can harm
nothing: if it dies the run fails, and if the run dies first nobody reads the file.

The process is `python -m pipelines.count` in the pipelines' environment, which has Beam. This one has not.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread

from shared.counting.result import Asked, Result, read
from shared.counting.snapshot import BEAT, Counted, Snapshot
from shared.errors import PipelineError, SnapshotTooOld

ROOT = Path(__file__).resolve().parents[2]
"""Where `shared` and `pipelines` are."""

GRACE = 30.0
"""Seconds that a pipeline which is told to stop has to cancel its job."""


class Engine:
    """Counts snapshots by the pipeline. ``python`` is the pipelines' interpreter, ``options`` are Beam's."""

    def __init__(
        self,
        options: Sequence[str] = (),
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._command = [python, "-m", "pipelines.count"]
        self._options = list(options)
        self._environment = environment

    def __call__(self, snapshot: Snapshot) -> tuple[Counted, str]:
        """Count, and say how.

        Raises:
            PipelineError: the pipeline failed, or its result is not the one asked for.
            SnapshotTooOld: it read what Firestore keeps no longer.
            Exception: what `Snapshot.beat` raises; the pipeline is ended first.
        """
        asked = Asked.of(snapshot.source, snapshot.home, snapshot.read_time)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.jsonl"
            entries = self._run(snapshot, asked, file)
            with file.open(encoding="utf-8") as lines:
                found: Result = read(
                    lines, asked, snapshot.source, snapshot.settle, lambda: snapshot.beat(entries)
                )
        snapshot.bill(found.reads)
        return found.counted, found.how

    def _run(self, snapshot: Snapshot, asked: Asked, file: Path) -> int:
        """Have the result written; the number of entries that the pipeline told last."""
        arguments = [
            f"--source={asked.source}",
            f"--read_time={asked.read_time.isoformat()}",
            f"--declarations={asked.declarations}",
            f"--result={file}",
            "--supervised",
        ]
        said: dict[str, object] = {}
        with subprocess.Popen(  # noqa: S603 - our own module; the options are the operator's
            [*self._command, *arguments, *self._options],
            cwd=ROOT,
            env=dict(self._environment),
            stdin=subprocess.PIPE,  # it ends when this is closed, and so with this process
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            listener = Thread(target=_listen, args=(child.stdout or (), said))
            listener.start()
            try:
                status = self._wait(child, snapshot, said)
            except BaseException:
                _end(child)
                raise
            listener.join()
        if status:
            _fail(status, said)
        return _entries(said)

    def _wait(self, child: "subprocess.Popen[str]", snapshot: Snapshot, said: Mapping[str, object]) -> int:
        while True:
            try:
                return child.wait(timeout=BEAT)
            except subprocess.TimeoutExpired:
                snapshot.beat(_entries(said))


def _listen(lines: Iterable[str], said: dict[str, object]) -> None:
    """Keep the last that a pipeline says: its progress, or why it failed."""
    for line in lines:
        try:
            said |= json.loads(line)
        except (TypeError, ValueError):  # a library prints to its standard output
            sys.stderr.write(line)


def _entries(said: Mapping[str, object]) -> int:
    entries = said.get("entries")
    return entries if isinstance(entries, int) else 0


def _end(child: "subprocess.Popen[str]") -> None:
    """Let it cancel its job; then end it."""
    child.terminate()
    try:
        child.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


def _fail(status: int, said: Mapping[str, object]) -> None:
    reason = str(said.get("reason", f"it ended with status {status}; its log says why"))
    if said.get("error") == SnapshotTooOld.__name__:
        raise SnapshotTooOld(reason)
    raise PipelineError(f"the pipeline that was to count failed: {reason}. Nothing was corrected")
