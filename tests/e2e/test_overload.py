"""Back-pressure over real HTTP: an instance whose queue is full says so at once."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from local.emulator import Emulator
from local.process import Child, free_port, wait_until
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.support.function_process import ROOT, Function, body_of
from tests.support.kitchen import Kitchen

SMALL_QUEUE = f"""
import sys
sys.path.insert(0, {str(ROOT / "functions")!r})
import shared.grouping.queue
shared.grouping.queue.MAX_WAITING = 2
from main import on_libra_created
"""
"""The deployed entry point with room for two in its queue, so that a test can fill it."""

HANG = 30
"""Seconds after which a request that hangs fails the test."""


@contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[Function]:
    source, port = folder / "small.py", free_port()
    source.write_text(SMALL_QUEUE)
    command = [
        *(sys.executable, "-m", "functions_framework", "--source", str(source)),
        *("--target", "on_libra_created", "--host", "127.0.0.1", "--port", str(port)),
    ]
    function = Function(Child("small", command, folder / "small.txt", os.environ | environment), port)
    try:
        function.child.wait_healthy(function.healthy, seconds=60)
        yield function
    finally:
        function.child.stop()


def thread_states(group: int) -> set[str]:
    """The states of all threads of a process group, as proc(5) spells them: T is stopped."""
    states = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(process.name)) == group:
                states |= {
                    thread.read_text().rpartition(")")[2].split()[0] for thread in process.glob("task/*/stat")
                }
    return states


@contextmanager
def hanging(emulator: Emulator) -> Iterator[None]:
    """The emulator accepts and does not answer.

    A signal is sent before it is obeyed: each thread of a process stops when it is next scheduled. On a busy
    machine the emulator answers commits meanwhile, so this waits until all have stopped.
    """
    assert emulator._child
    group = emulator._child.pid
    os.killpg(group, signal.SIGSTOP)
    try:
        wait_until(lambda: thread_states(group) == {"T"}, seconds=HANG, what="stop of the emulator")
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def test_a_full_queue_is_answered_503_at_once_and_nothing_is_lost(project: str, tmp_path: Path) -> None:
    """While one commit hangs two events may wait; the others are refused, come again, and all count once."""
    with Emulator.prepare(os.environ, tmp_path / "emulator.txt") as emulator:
        settings = Settings(project=project, emulator_host=emulator.address)
        store = FirestoreStore.connect(settings)
        kitchen = Kitchen(store, settings)
        entries = [kitchen.write(f"entry-{number}") for number in range(8)]
        environment = {"GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_EMULATOR_HOST": emulator.address}
        environment["PYTHONPATH"] = str(ROOT)
        with (
            serving(tmp_path, environment) as function,
            httpx.Client(timeout=HANG, limits=httpx.Limits(max_connections=20)) as client,
            ThreadPoolExecutor(8) as threads,
        ):

            def deliver(number: int) -> int:
                return function.post(client, body_of(entries[number]), f"event-{number}")

            assert deliver(0) == 200
            with hanging(emulator):
                answers = [threads.submit(deliver, number) for number in range(1, 8)]
                # At most two ride in the commit that hangs, and two wait.
                wait_until(lambda: sum(map(Future.done, answers)) >= 3, seconds=HANG, what="refusals")
                refused = [number for number, answer in enumerate(answers, 1) if answer.done()]
                assert {deliver(number) for number in refused} == {503}
            assert {answer.result() for answer in answers} == {200, 503}
            assert {deliver(number) for number in range(8)} == {200}
            assert kitchen.totals() == kitchen.exact()
        store.close()
