"""The job that recomputes by `beam`: it prints its report, and leaves nothing behind if it is told to end."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from deploy.stage import ROOT
from local.process import wait_until
from pipelines import recompute
from shared.errors import PipelineError
from shared.store.client import FirestoreStore
from tests.emulator.test_counting_agree import fill
from tests.support.kitchen import Kitchen
from tests.support.recomputing import next_second


def started(kitchen: Kitchen) -> "subprocess.Popen[str]":
    """The job's process, as the image starts it."""
    settings = "LIBRA_LAG_SECONDS=0;LIBRA_BUCKET_SECONDS=1"
    environment = os.environ | {
        "GOOGLE_CLOUD_PROJECT": str(kitchen.settings.project),
        "FIRESTORE_EMULATOR_HOST": str(kitchen.settings.emulator_host),
    }
    command = [sys.executable, "-m", "pipelines", "--pipeline=recompute", f"--settings={settings}"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def children(pid: int) -> list[str]:
    """The processes that a process has started and that have not ended."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def test_a_job_that_is_told_to_end_fails_its_run_and_the_next_one_completes(kitchen: Kitchen) -> None:
    """SIGTERM while the pipeline counts: the lease is given back at once, and the pipeline is gone."""
    fill(kitchen, random.Random(4), 40)
    next_second()
    with started(kitchen) as job:
        wait_until(
            lambda: any(it["state"] == "processing" for it in kitchen.documents(kitchen.home.runs)),
            seconds=60,
            what="the run",
        )
        wait_until(lambda: bool(children(job.pid)), seconds=60, what="the pipeline")
        pipeline = children(job.pid)
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=90) == 1
    assert not os.path.exists(f"/proc/{pipeline[0]}")
    (record,) = kitchen.documents(kitchen.home.runs)
    assert (record["state"], record["error"]) == ("failed", "SystemExit: 1")
    with started(kitchen) as again:
        report = json.loads(again.communicate(timeout=150)[0].splitlines()[-1])
    assert again.returncode == 0
    assert (report["strategy"], report["drift"] > 0) == ("beam", True)
    assert kitchen.totals() == kitchen.exact()


def test_a_run_that_fails_closes_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that ends well does."""
    closed: list[FirestoreStore] = []

    def fail(*_: object, **__: object) -> None:
        raise PipelineError("no")

    def close(store: FirestoreStore) -> None:
        closed.append(store)

    monkeypatch.setattr(recompute, "Recompute", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(FirestoreStore, "close", close)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    assert recompute.main([]) == 1
    assert len(closed) == 1
