"""`libra warehouse`: the SQL of the warehouse, and what a view needs of Firestore."""

from collections.abc import Mapping

import click

from cli.writing import connected
from deploy.parameters import default
from shared.aggregation import Bounded
from shared.registry import FIELD
from shared.schemas import EventBooks, self_written
from shared.store import Store
from shared.warehouse import Dataset, admitted, views

_dataset = click.option(
    "--dataset", default=default("LIBRA_WAREHOUSE_DATASET"), show_default=True, help="The dataset's name."
)


@click.group("warehouse", short_help="Print the SQL of the warehouse in BigQuery.")
def command() -> None:
    """Print the SQL of the warehouse. It goes to `bq query --use_legacy_sql=false`."""


@command.command("views")
@_dataset
def show_views(*, dataset: str) -> None:
    """Print the statements that make the views again, each after those that it reads."""
    with connected() as (store, settings):
        declared = {name: books.source for name, books in self_written(settings).items()}
        where = Dataset(_project(store), dataset)
    for view in views(declared, where):
        click.echo(f"CREATE OR REPLACE VIEW {where.path(view.name)} AS\n{view.query.rstrip()};\n")


@command.command("bounded")
@_dataset
def bounded(*, dataset: str) -> None:
    """Print the statement that tells BigQuery which values of bounded keys have totals of their own.

    Run it once a bounded key is full, and it stays right. It may be run again at any time.
    """
    with connected() as (store, settings):
        written: dict[str, Mapping[str, list[str]]] = {}
        for books in self_written(settings).values():
            written |= registered(store, books)
        where = Dataset(_project(store), dataset)
    if not any(names for parts in written.values() for names in parts.values()):
        click.echo("-- No bounded key has a value yet.")
        return
    click.echo(admitted(written, where), nl=False)


def registered(store: Store, books: EventBooks) -> dict[str, dict[str, list[str]]]:
    """The names of the values that Firestore has written down, by aggregation and part."""
    keyed = [it for it in books.source.aggregations if any(isinstance(part, Bounded) for part in it.parts)]
    documents = store.get([books.home.registry(it.name) for it in keyed])
    found = {}
    for aggregation, document in zip(keyed, documents, strict=True):
        lists = document.fields.get(FIELD, {}) if document else {}
        parts = lists if isinstance(lists, Mapping) else {}
        found[aggregation.name] = {str(part): list(map(str, names)) for part, names in parts.items()}
    return found


def _project(store: Store) -> str:
    return store.name("").split("/")[1]
