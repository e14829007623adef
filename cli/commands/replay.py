"""`libra replay`: dead letters back to their topic."""

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
    replayed. Its time is judged as of its first publication.
    """
    project, emulator = named_pubsub(real_project, reading=dry_run)
    with closing(DeadLetters(project, source)) as letters:
        if dry_run:
            found = letters.look(SHOWN)
        else:
            with closing(Topic(project, emulator, source)) as topic:
                found = list(letters.replay(topic.publish))
    rows = [
        {"message": it.id, "accepted": it.accepted, "died": iso(it.died), "deliveries": it.deliveries}
        for it in found
    ]
    if as_json:
        print_json({"source": source, "dry_run": dry_run, "letters": rows})
        return
    for row in rows if dry_run else ():
        click.echo(f"{row['message']:>20}  accepted {row['accepted']}  died {row['died']}")
    click.echo(f"{len(rows):,} dead letters {'are there' if dry_run else 'are back in the topic ' + source}.")
