"""Intakes and runs at once on the real emulator: every run finds the totals right, as of a moment ago."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.emulator import Emulator
from shared.errors import LeaseHeld, Transient
from shared.intake import Outcome
from shared.settings import Settings
from shared.store import Merge
from shared.store.client import FirestoreStore
from tests.support.admitting import Desk, click

RUNS = 6


@pytest.fixture
def desks(emulator: Emulator, project: str) -> Iterator[list[Desk]]:
    """Three processes' connections to one database, as good as."""
    settings = Settings(project=project, emulator_host=emulator.address, test=True)
    stores = [FirestoreStore.connect(settings) for _ in range(3)]
    yield [Desk(store) for store in stores]
    for store in stores:
        store.close()


def test_runs_find_nothing_while_intakes_go_on(desks: list[Desk]) -> None:
    """Two intakes of four threads each, each event twice; a run after another, and dry runs, beside them."""
    running, counted = threading.Event(), Counter[Outcome]()
    first, second, third = desks
    intakes = [first.intake(group_size=5), second.intake(group_size=5)]

    def admit(thread: int) -> Counter[Outcome]:
        number, outcomes = 0, Counter[Outcome]()
        while not running.is_set():
            number += 1
            event = click(f"{thread // 2}-{number}", type=f"t{number % 3}", user=f"u{number % 7}")
            try:
                outcomes[intakes[thread % 2].admit(event).outcome] += 1
            except Transient:
                continue  # the emulator was too busy: sent again as another event, or found to be there
        return outcomes

    with ThreadPoolExecutor(8) as threads:
        admitting = [threads.submit(admit, thread) for thread in range(8)]
        try:
            for number in range(RUNS):
                recompute = third.recompute()
                report = recompute.run() if number % 3 else recompute.verify()
                assert (report.drift, report.notes) == (0, ())
                assert third.agrees(report.watermark)
                assert report.entries == sum(
                    amounts["count"]
                    for cell, amounts in third.totals(report.watermark).items()
                    if cell.aggregation == "by_type"
                )
        finally:
            running.set()
        for each in admitting:
            counted += each.result()
    assert counted[Outcome.COUNTED] > RUNS
    assert counted[Outcome.DUPLICATE] > 0
    assert third.agrees()
    assert third.run().drift == 0


def test_a_correction_lands_once_beside_intakes_and_another_run(desks: list[Desk]) -> None:
    """A total is put off again and again while two run recomputes; in the end it is right."""
    running = threading.Event()
    first, second, third = desks
    intake = first.intake()

    def admit() -> int:
        number = 0
        while not running.is_set():
            number += intake.admit(click(f"{number}-x", type="t")).outcome is Outcome.COUNTED
        return number

    def recompute(desk: Desk) -> int:
        completed = 0
        while completed < RUNS:
            desk.store.commit([Merge("by_type/t", increments={("count",): 7})], timeout=10)
            try:
                desk.run()
                completed += 1
            except (LeaseHeld, Transient):
                continue
        return completed

    with ThreadPoolExecutor(3) as threads:
        admitting = threads.submit(admit)
        try:
            runs = [threads.submit(recompute, desk) for desk in (second, third)]
            assert [each.result() for each in runs] == [RUNS, RUNS]
        finally:
            running.set()
        assert admitting.result() > 0
    third.run()
    assert third.agrees()
    assert third.run().drift == 0
