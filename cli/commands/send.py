"""`libra send`: behaviour of users as events, to a collector or straight to Pub/Sub."""

import random
import time
from contextlib import closing
from datetime import UTC, datetime

import click
from rich.console import Console

from cli.behaviour import SOURCES, Crowd, behave
from cli.commands.options import SHARE, real_project
from cli.comparison import as_json, print_json
from cli.report import counting_up
from cli.sending import Collector, Sender, Topic, named_pubsub, send
from local.errors import StackError


@click.command("send", short_help="Send events of a shop's users to a source.")
@click.option("--source", type=click.Choice(SOURCES), default=SOURCES[0], show_default=True)
@click.option("--count", type=click.IntRange(1), default=1_000, show_default=True, help="Different events.")
@click.option(
    "--rate", type=click.FloatRange(0), default=0, help="Events per second, at most.  [default: no bound]"
)
@click.option("--duplicates", type=SHARE, default=0.05, show_default=True, help="Share sent twice.")
@click.option("--invalid", type=SHARE, default=0.0, show_default=True, help="Share that is no event.")
@click.option("--seed", type=int, help="Same seed and moment, same events.  [default: random]")
@click.option(
    "--to", envvar="LIBRA_COLLECTOR_URL", metavar="URL", help="The collector.  [default: straight to Pub/Sub]"
)
@click.option("--key", envvar="LIBRA_KEY", metavar="KEY", help="An API key of the collector, or an ID token.")
@as_json
@real_project
def command(
    *,
    source: str,
    count: int,
    rate: float,
    duplicates: float,
    invalid: float,
    seed: int | None,
    to: str | None,
    key: str | None,
    as_json: bool,
    real_project: str | None,
) -> None:
    """Send events of users of a shop, some of them twice and, if asked for, some that are wrong.

    With --to, they go to a collector over HTTP, and what it does not take is sent again. Without, they are
    published to the source's topic. The report says what became of them.
    """
    chosen = random.randrange(2**31) if seed is None else seed
    crowd = Crowd(source, count, datetime.now(UTC), chosen, duplicates, invalid)
    started = time.monotonic()
    sender: Sender = Collector(to, _key(key), source) if to else Topic(*named_pubsub(real_project), source)
    with closing(sender), counting_up(Console(stderr=True), "Sent", None) as progress:
        tally = send(behave(crowd), sender, rate=rate, progress=progress)
    seconds = time.monotonic() - started
    report = {"source": source, "events": count, "sent": tally.total(), "seconds": round(seconds, 1)}
    if as_json:
        print_json(report | {"outcomes": dict(tally)})
        return
    became = ", ".join(f"{number:,} {outcome}" for outcome, number in tally.most_common())
    click.echo(f"{count:,} events sent {tally.total():,} times in {seconds:.1f} s: {became}.")


def _key(key: str | None) -> str:
    if not key:
        raise StackError(
            "--key (LIBRA_KEY) is missing: `libra keys create NAME --source SOURCE` makes an API key"
        )
    return key
