"""`libra drill`: practise a restore or a load before it is needed."""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import click

from cli.commands.demo import SETTINGS
from cli.commands.options import ending, generating
from cli.comparison import as_json, print_json
from cli.drills import PROMISED_MS, Restore, Restored
from cli.generator import Plan
from cli.report import figures_table, page
from cli.show import Show
from local.stack import LocalStack
from shared.settings import Settings
from shared.store.client import FirestoreStore

CLOUD = """\
# From a daily backup (./deploy.sh up --backup=daily), into another database:
gcloud firestore backups list --project={project}
gcloud firestore databases restore --project={project} --destination-database={restored} \\
  --source-backup=projects/{project}/locations/{location}/backups/BACKUP

# Or from point-in-time recovery (./deploy.sh up --pitr=on), as of a whole minute of the last seven days:
gcloud firestore export gs://BUCKET/drill --project={project} --database='{database}' \\
  --snapshot-time=YYYY-MM-DDTHH:MM:00.00Z
gcloud firestore databases create --project={project} --database={restored} \\
  --location={location} --type=firestore-native
gcloud firestore import gs://BUCKET/drill --project={project} --database={restored}

# Look whether the totals are right there. It writes nothing. After an import, wait LAG and a bucket first:
FIRESTORE_DATABASE={restored} GOOGLE_CLOUD_PROJECT={project} libra verify

# Switch. The devices and the apps must name the other database too:
./deploy.sh up --project={project} --region=REGION --location={location} --database={restored}
FIRESTORE_DATABASE={restored} GOOGLE_CLOUD_PROJECT={project} libra recompute --real-project {project}

# After a drill, in place of the switch:
gcloud firestore databases delete --project={project} --database={restored}

# It costs: a restore by the size of the backup; an export one read and an import one write for each document;
# the second database's storage while it is there; verify and recompute what `libra cost` says of a recompute.
# Prices: https://cloud.google.com/firestore/pricing
"""
"""What `--cloud` prints. No command of it was run: there was no project."""


@click.group("drill", short_help="Practise a restore or a load on this machine.")
def command() -> None:
    """Practise on this machine what an operator does seldom, and see that the totals end exact."""


def _stack(say: Callable[[str], None] = lambda _: None) -> LocalStack:
    """A stack for one drill, with every trigger."""
    project = f"demo-drill-{uuid.uuid4().hex[:8]}"
    settings = SETTINGS | {"LIBRA_LOG_LEVEL": "DEBUG"}
    return LocalStack(project=project, settings=settings, recompute=True, edits=True, say=say)


def _plan(entries: int, seed: int, until: date, days: int, malformed: float) -> Plan:
    return Plan(entries, until, Settings.from_environment(os.environ).time_zone, days, seed, malformed)


@command.command("restore")
@generating(entries=1000)
@click.option("--cloud", is_flag=True, help="Print the commands for a real project, and do nothing.")
@as_json
def restore(
    *,
    entries: int,
    seed: int,
    until: date,
    days: int,
    malformed: float,
    rate: float,  # noqa: ARG001 - of the generator; a restore writes as fast as it can
    cloud: bool,
    as_json: bool,
) -> None:
    """Lose the database and restore it from a backup, on this machine.

    Entries are written and exported. More entries follow. The database is emptied, entries come into the
    empty one, and the export is imported over them. `verify` counts what is wrong, and a recompute repairs
    it. At last the devices send again what the backup did not have. The exit status is 1 if a total is wrong
    then, or was after the recompute.
    """
    if cloud:
        click.echo(cloud_commands(os.environ), nl=False)
        return
    console = page()

    def say(text: str) -> None:
        if not as_json:
            console.print(text, markup=False)

    with ending(), tempfile.TemporaryDirectory() as folder, _stack(say) as stack:
        store = FirestoreStore.connect(stack.settings)
        try:
            done = Restore(stack, store, Path(folder), say).run(_plan(entries, seed, until, days, malformed))
        finally:
            store.close()
    if as_json:
        print_json(done.as_json())
    else:
        _show(done)
    if not done.exact:
        sys.exit(1)


def _show(done: Restored) -> None:
    rows = [
        ("in the backup", f"{done.backed_up:,} entries"),
        ("after the backup", f"{done.lost:,} entries, lost with the database"),
        ("meanwhile", f"{done.meanwhile:,} entries came into the empty database"),
        ("wrong before", f"{done.wrong:,} totals, once the backup was back"),
        ("verify", f"found a drift of {done.found:,}"),
        ("recompute", f"repaired a drift of {done.repaired:,}; {done.wrong_after:,} totals are wrong then"),
        ("sent again", f"{done.sent_again:,} entries; {done.wrong_at_the_end:,} totals are wrong at the end"),
        ("time", f"{done.seconds:.1f} s from the empty database to proven totals, LAG and bucket included"),
    ]
    console = page()
    console.print(figures_table("\nRestore", rows))
    verdict = "exact" if done.exact else "WRONG"
    console.print(f"\n{verdict}: compared with an independent count, as written and as read back.")


def cloud_commands(environment: Mapping[str, str]) -> str:
    """The same for a real project: what an operator types, and what it costs."""
    return CLOUD.format(
        project=environment.get("GOOGLE_CLOUD_PROJECT", "PROJECT"),
        database=environment.get("FIRESTORE_DATABASE", "(default)"),
        location=environment.get("LIBRA_LOCATION") or environment.get("LIBRA_REGION") or "LOCATION",
        restored="libra-restored",
    )


@command.command("load")
@generating(entries=3000)
def load(*, entries: int, seed: int, until: date, days: int, malformed: float, rate: float) -> None:
    """Put a load on the local stack, and report how fast events are in the totals.

    It says whether the 99th percentile is within the objective on this machine: 2 seconds. The exit status
    is 1 if a total is wrong.
    """
    console = page()
    with ending(), _stack(console.print) as stack:
        store = FirestoreStore.connect(stack.settings)
        try:
            exact = Show(console, stack, store).count(_plan(entries, seed, until, days, malformed), rate)
            slowest = stack.relay_state()["latency_ms"]["p99"]
        finally:
            store.close()
    met = "is met" if slowest <= PROMISED_MS else "is NOT met"
    console.print(f"\nThe objective {met} on this machine: p99 {slowest:,.0f} ms, of {PROMISED_MS:,} ms.")
    if not exact:
        sys.exit(1)
