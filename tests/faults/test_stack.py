"""kill -9 of whole parts of the stack under load, and the emulator stopped and started with its data."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from local.emulator import Emulator
from local.jar import FIRESTORE, find_jar
from local.java import find_java, required_java
from local.process import Child, free_port, wait_until
from local.stack import LocalStack
from shared.aggregation import Cell, Entry
from shared.ledger import Ledger, Outcome
from shared.recompute import Recompute
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK


@contextmanager
def running(project: str, **settings: str) -> Iterator[tuple[LocalStack, Kitchen]]:
    """A local stack of the test's own, and its kitchen."""
    with LocalStack(project=project, settings=settings) as stack:
        kitchen = opened(stack.emulator.address, stack.settings)
        yield stack, kitchen
        kitchen.store.close()


def write(kitchen: Kitchen, first: int, number: int) -> None:
    def one(each: int) -> Entry:
        return kitchen.write(f"e{each}", ingredient=f"i{each % 7}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(first, first + number)))


def wait_past(kitchen: Kitchen) -> None:
    """Wait until the bucket of the newest entry has ended."""
    newest = max(entry.time for entry in kitchen.entries())
    wait_until(
        lambda: datetime.now(UTC) > newest + 2 * QUICK.bucket, seconds=10, what="the end of the last bucket"
    )


def test_a_trigger_killed_under_load_loses_and_doubles_nothing(project: str) -> None:
    """Three times in the middle of 150 events, a third of them delivered twice: exact without a recompute."""
    with running(project) as (stack, kitchen):
        stack.set_faults(duplicate=0.3)
        for first in (0, 50, 100):
            write(kitchen, first, 25)
            stack.kill_function()
            write(kitchen, first + 25, 25)
            stack.start_function()
        stack.wait_until_quiet(150)
        assert kitchen.totals() == kitchen.exact()


def test_events_that_die_with_the_relay_are_found_by_the_recompute(project: str) -> None:
    """What the platform loses no trigger can count; *bound* holds, and the next run converges."""
    quick = {"LIBRA_LAG_SECONDS": "0", "LIBRA_BUCKET_SECONDS": "1"}
    with running(project, **quick) as (stack, kitchen):
        write(kitchen, 0, 30)
        stack.wait_until_quiet(30)
        stack.kill_function()
        write(kitchen, 30, 30)  # the relay holds their events, and dies with them
        relay = stack._relay
        assert relay
        relay.kill()
        stack.start_function()
        shown = sum(total["count"] for cell, total in kitchen.totals().items() if is_category(cell))
        assert shown == 30
        wait_past(kitchen)
        report = Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings).run()
        assert report.drift == 4 * 30
        assert kitchen.totals() == kitchen.exact()


def is_category(cell: Cell) -> bool:
    return cell.aggregation == "aggregates_categories"


def test_an_emulator_stopped_and_started_with_its_data_counts_on(project: str, tmp_path: Path) -> None:
    """Exported, killed, imported by another: every redelivered event is known, new ones count, drift is 0."""
    settings = replace(QUICK, project=project)
    with Emulator.prepare(os.environ, tmp_path / "first.txt") as first:
        before = opened(first.address, settings)
        entries = [before.write(f"e{number}", ingredient=f"i{number % 3}") for number in range(12)]
        ledger = Ledger(before.store, before.source, before.home, settings)
        for entry in entries[:9]:
            ledger.apply(entry)
        export(first, project, tmp_path)
        before.store.close()
        first.kill()
    with imported(tmp_path / "export" / "export.overall_export_metadata", tmp_path) as address:
        after = opened(address, settings)
        ledger = Ledger(after.store, after.source, after.home, settings)
        assert [ledger.apply(entry) for entry in entries] == [Outcome.DUPLICATE] * 9 + [Outcome.COUNTED] * 3
        ledger.apply(after.write("new"))
        assert after.totals() == after.exact()
        wait_past(after)
        assert Recompute(after.store, after.source, after.home, settings).run().drift == 0
        after.store.close()


def opened(address: str, settings: Settings) -> Kitchen:
    return Kitchen(FirestoreStore.connect(replace(settings, emulator_host=address)), settings)


def export(emulator: Emulator, project: str, folder: Path) -> None:
    body = {
        "database": f"projects/{project}/databases/(default)",
        "export_directory": str(folder),
        "export_name": "export",
    }
    answer = httpx.post(f"{emulator.url}/emulator/v1/projects/{project}:export", json=body, timeout=60)
    assert answer.is_success, answer.text


@contextmanager
def imported(metadata: Path, folder: Path) -> Iterator[str]:
    """The address of an emulator that has started from an export."""
    jar = find_jar(os.environ)
    java, port = find_java(os.environ, required_java(jar)), free_port()
    command = [str(java), "-cp", str(jar), FIRESTORE.main, "--host", "127.0.0.1", "--port", str(port)]
    child = Child(
        "the second emulator",
        [*command, "--seed_from_export", str(metadata)],
        folder / "second.txt",
        os.environ,
    )
    address = f"127.0.0.1:{port}"
    try:
        child.wait_healthy(lambda: answers(address), seconds=60)
        yield address
    finally:
        child.kill()


def answers(address: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{address}", timeout=5).text.strip() == "Ok"
    return False
