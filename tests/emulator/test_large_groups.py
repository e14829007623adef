"""Groups of entries with the longest keys there may be: what Firestore takes in one request bounds them."""

import threading
from concurrent.futures import ThreadPoolExecutor

from shared.aggregation import MAX_KEY_BYTES
from shared.ledger import Ledger, Outcome
from tests.support.kitchen import Kitchen


def test_entries_with_the_longest_keys_ride_in_groups_that_are_taken(kitchen: Kitchen) -> None:
    """A hundred at once, 64 KiB each: counted, none refused again and again for the size of its group."""
    entries = [
        kitchen.write(f"e{number}", ingredient=chr(0x1F600 + number) * (MAX_KEY_BYTES // 4))
        for number in range(100)
    ]
    ledger = Ledger(kitchen.store, kitchen.source, kitchen.home, kitchen.settings)
    together = threading.Barrier(len(entries))

    def apply(number: int) -> Outcome:
        together.wait(60)
        return ledger.apply(entries[number])

    with ThreadPoolExecutor(len(entries)) as threads:
        assert set(threads.map(apply, range(len(entries)))) == {Outcome.COUNTED}
    assert ledger.figures.retries == 0
    assert kitchen.totals() == kitchen.exact()
