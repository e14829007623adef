"""`libra replay`: dead letters back to their topic."""

import sys
from contextlib import closing

import click

from cli.behaviour import SOURCES
from cli.commands.options import real_project
from cli.comparison import as_json, iso, print_json
from cli.replaying import DeadLetters
from cli.sending import Topic, named_pubsub

SHOWN = 1_000


@click.command("replay", short_help="Bring dead letters back to their topic.")
@click.option("--source", type=click.Choice(SOURCES), required=True)
@click.option("--dry-run", is_flag=True, help=f"Show them, {SHOWN:,} at most, and leave them where they are.")
@as_json
@real_project
def command(*, source: str, dry_run: bool, as_json: bool, real_project: str | None) -> None:
    """Publish the dead letters of a source again, for instance once what made them fail is mended.

    A letter is acknowledged only after it is published again. An event counts once, however often it is
    replayed. Its time is judged as of its first publication. The exit status is 1 if Pub/Sub refuses a
    letter, such as one of more than 10 MB; it stays, and the others are brought back.
    """
    project, emulator = named_pubsub(real_project, reading=dry_run)
    with closing(DeadLetters(project, source)) as letters:
        if dry_run:
            found = letters.look(SHOWN)
        else:
            with closing(Topic(project, emulator, source)) as topic:
                found = list(letters.replay(topic.publish))
        refused = letters.refused
    rows = [
        {"message": it.id, "accepted": it.accepted, "died": iso(it.died), "deliveries": it.deliveries}
        for it in found
    ]
    if as_json:
        stay = [{"message": it.id, "bytes": it.size, "reason": why} for it, why in refused.values()]
        print_json({"source": source, "dry_run": dry_run, "letters": rows, "refused": stay})
    else:
        for row in rows if dry_run else ():
            click.echo(f"{row['message']:>20}  accepted {row['accepted']}  died {row['died']}")
        where = "are there" if dry_run else f"are back in the topic {source}"
        click.echo(f"{len(rows):,} dead letters {where}.")
        for letter, why in refused.values():
            click.echo(f"{letter.id} ({letter.size:,} bytes) stays a dead letter: {why}", err=True)
    if refused:
        sys.exit(1)
