"""Drills on a running local stack: a restore from a backup, and a load. Both end with a comparison."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cli.audit import differences, fold, stored
from cli.generator import Plan, Written, generate
from cli.writing import Item, write
from local.stack import LocalStack
from shared.catalog import LIBRA_HOME
from shared.store import Query, Store

QUIET_SECONDS = 600
PROMISED_MS = 2_000
"""An event is in the totals within this, 99 times in a hundred: the objective `latency`."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to.

    Attributes:
        backed_up: entries in the backup.
        lost: entries that were written after the backup and are not in it.
        meanwhile: entries that came while the database was empty.
        wrong: totals that were wrong once the backup was back.
        found: the drift that `verify` found.
        repaired: the drift that the recompute repaired.
        wrong_after: totals that were wrong after the recompute.
        sent_again: entries that the devices sent again.
        wrong_at_the_end: totals that were wrong after that.
        seconds: how long the restore took, from the empty database to proven totals.
    """

    backed_up: int
    lost: int
    meanwhile: int
    wrong: int
    found: int
    repaired: int
    wrong_after: int
    sent_again: int
    wrong_at_the_end: int
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether the totals were exact after the recompute, and at the end."""
        return not self.wrong_after and not self.wrong_at_the_end

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return asdict(self) | {"seconds": round(self.seconds, 1), "exact": self.exact}


class Restore:
    """A backup, entries after it, the loss of the database, entries meanwhile, and the backup again."""

    def __init__(self, stack: LocalStack, store: Store, folder: Path, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._store = store
        self._folder = folder
        self._say = say

    def run(self, plan: Plan) -> Restored:
        """Carry it out with a plan's entries; a third as many come after the backup, and a fifth meanwhile.

        Raises:
            StackError: a step did not end.
            StoreError: Firestore refused.
        """
        stack, home = self._stack, LIBRA_HOME
        backed_up = self._write("entries are written and proven", plan)
        self._prove()
        self._say("The database is exported.")
        exported = stack.emulator.export(stack.project, self._folder, stack.settings.database)
        lost = self._write("entries come after the backup", _more(plan, plan.entries // 3, 1))
        stack.emulator.reset(stack.project, stack.settings.database)
        begun = time.monotonic()
        self._say("The database is gone.")
        meanwhile = self._write("entries come into the empty database", _more(plan, plan.entries // 5, 2))
        stack.emulator.load(stack.project, exported, stack.settings.database)
        stack.wait_until_quiet(seconds=QUIET_SECONDS)
        self._pass()
        wrong = self._wrong(backed_up + meanwhile)
        self._say(f"The backup is back: {wrong:,} totals are wrong. They are recomputed.")
        found = stack.run_recompute(dry_run=True)["drift"]
        repaired = stack.run_recompute()["drift"]
        after = self._wrong(backed_up + meanwhile)
        seconds = time.monotonic() - begun
        self._say(f"The devices send the {len(lost):,} entries again that the backup did not have.")
        received = stack.relay_state()["received"]
        again = write(self._store, home.entries, _items(lost)).created
        stack.wait_until_quiet(received + again, seconds=QUIET_SECONDS)
        return Restored(
            len(backed_up),
            len(lost),
            len(meanwhile),
            wrong,
            found,
            repaired,
            after,
            again,
            self._wrong(backed_up + meanwhile + lost),
            seconds,
        )

    def _write(self, what: str, plan: Plan) -> list[Written]:
        """Write entries and wait until their events are delivered."""
        written = generate(plan)
        self._say(f"{len(written):,} {what}.")
        received = self._stack.relay_state()["received"]
        write(self._store, LIBRA_HOME.entries, _items(written))
        self._stack.wait_until_quiet(received + len(written), seconds=QUIET_SECONDS)
        return written

    def _pass(self) -> None:
        """Let LAG and a bucket pass, so that the next watermark is behind all that was written."""
        settings = self._stack.settings
        time.sleep((settings.lag + settings.bucket + timedelta(seconds=0.1)).total_seconds())

    def _prove(self) -> None:
        self._pass()
        self._stack.run_recompute()

    def _wrong(self, written: list[Written]) -> int:
        """Totals that differ from an independent count, of the entries as written and as they can be read."""
        settings, totals = self._stack.settings, stored(self._store)
        read = fold((it.fields for it in self._store.query(Query(LIBRA_HOME.entries))), settings)
        expected = fold((it.fields for it in written), settings)
        wrong = {it[:2] for it in differences(totals, expected.totals)}
        wrong |= {it[:2] for it in differences(totals, read.totals)}
        return len(wrong) + abs(read.entries - expected.entries)


def _items(written: list[Written]) -> Any:
    return (Item(entry.id, entry.id, entry.fields) for entry in written)


def _more(plan: Plan, entries: int, number: int) -> Plan:
    """Other entries of the same kind."""
    return replace(plan, entries=max(1, entries), seed=plan.seed + number)
