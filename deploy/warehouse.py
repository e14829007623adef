"""The warehouse as BigQuery is asked for it: the dataset, its tables and its views, from the declarations.

What is sent carries a digest as a label, so that a second `up` knows what is there. Tables are made before
views, and each view after those that it reads.

`python -m deploy.warehouse` writes the files of the Terraform module again.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from deploy.google import ApiError, call
from shared.events import EventSource
from shared.schemas import self_written
from shared.settings import Settings
from shared.warehouse import Dataset, Table, View, tables, views

ACCOUNT = "libra-warehouse"
"""The account that the pipeline runs as."""
BUILT = "build/warehouse"
"""Where `render` writes, relative to the root of the project."""
CONFIG = "libra-config"
"""The label with the digest."""
TEMPLATES = Path(__file__).resolve().parent / "terraform" / "modules" / "warehouse" / "files"
_ZONE = "Etc/GMT-14"
"""Stands for `${time_zone}` while the templates are made: nobody counts in it."""

Json = dict[str, Any]


def dataset(values: Mapping[str, str]) -> Dataset:
    """Where tables and views are."""
    return Dataset(values["GOOGLE_CLOUD_PROJECT"], values["LIBRA_WAREHOUSE_DATASET"])


def path(where: Dataset, table: str | None = None) -> str:
    """The path of a table or a view; without one, of all of them."""
    return f"{where_is(where)}/tables/{table}" if table else f"{where_is(where)}/tables"


def where_is(where: Dataset) -> str:
    """The path of the dataset."""
    return f"bigquery/v2/projects/{where.project}/datasets/{where.name}"


def kinds(values: Mapping[str, str]) -> dict[str, str]:
    """What each table and view is called in the Terraform module."""
    sources = _sources(Settings())
    found = dict.fromkeys((table.name for table in tables(sources)), "table")
    return found | {
        view.name: "events" if view.of_rows else "totals" for view in views(sources, dataset(values))
    }


def dataset_body(values: Mapping[str, str]) -> Json:
    """The dataset. The pipeline's account may write its rows, and nothing else in the project's BigQuery."""
    where = dataset(values)
    email = f"{ACCOUNT}@{where.project}.iam.gserviceaccount.com"
    return {
        "datasetReference": {"projectId": where.project, "datasetId": where.name},
        "location": values["LIBRA_REGION"],
        "description": "Libra: events and their totals",
        "access": [
            {"role": "OWNER", "specialGroup": "projectOwners"},
            {"role": "READER", "specialGroup": "projectReaders"},
            {"role": "WRITER", "userByEmail": email},
        ],
    }


def bodies(values: Mapping[str, str], sources: Mapping[str, EventSource] | None = None) -> dict[str, Json]:
    """What is sent for each table and view, by its name, in the order in which they can be made."""
    where = dataset(values)
    sources = sources or _sources(Settings(time_zone=ZoneInfo(values["LIBRA_TIME_ZONE"])))
    made = [_table(table) for table in tables(sources)] + [_view(view) for view in views(sources, where)]
    return {name: _labelled(where, name, body) for name, body in made}


def render(values: Mapping[str, str], root: Path) -> None:
    """Write what is sent."""
    folder = root / BUILT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, body in ({"dataset": dataset_body(values)} | bodies(values)).items():
        (folder / f"{name}.json").write_text(_text(body), encoding="utf-8")


def ensure(
    environment: Mapping[str, str],
    values: Mapping[str, str],
    sources: Mapping[str, EventSource] | None = None,
) -> None:
    """Make what is missing, at once: for the emulator, where nothing has to be printed first.

    Raises:
        ApiError: it was refused.
    """
    where = dataset(values)
    wanted = [(where_is(where).rpartition("/")[0], dataset_body(values))]
    wanted += [(path(where), body) for body in bodies(values, sources).values()]
    for collection, body in wanted:
        try:
            call(environment, "POST", "bigquery", collection, body)
        except ApiError as error:
            if error.code != 409:
                raise


def templates() -> Iterator[tuple[str, str]]:
    """The files of the Terraform module: a JSON file of the tables, and one of the views.

    `${project}`, `${dataset}` and `${time_zone}` in the views stand for parameters.
    """
    sources = _sources(Settings(time_zone=ZoneInfo(_ZONE)))
    yield "tables.json", _text([_table(table)[1] | {"name": table.name} for table in tables(sources)])
    found = [
        {"name": it.name, "description": it.description, "query": it.query, "of_rows": it.of_rows}
        for it in views(sources, Dataset("PROJECT-", "DATASET-"))
    ]
    text = re.sub(r"([$%])\{", r"\1\1{", _text(found))
    for placed, parameter in (("PROJECT-", "project"), ("DATASET-", "dataset"), (_ZONE, "time_zone")):
        text = text.replace(placed, f"${{{parameter}}}")
    yield "views.json", text


def _sources(settings: Settings) -> dict[str, EventSource]:
    return {name: books.source for name, books in self_written(settings).items()}


def _table(table: Table) -> tuple[str, Json]:
    body: Json = {"description": table.description, "schema": {"fields": [dict(it) for it in table.columns]}}
    if table.partition:
        body["timePartitioning"] = {"type": "DAY", "field": table.partition}
    if table.cluster:
        body["clustering"] = {"fields": list(table.cluster)}
    return table.name, body


def _view(view: View) -> tuple[str, Json]:
    return view.name, {
        "description": view.description,
        "view": {"query": view.query, "useLegacySql": False},
    }


def _labelled(where: Dataset, name: str, body: Json) -> Json:
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:40]
    reference = {"projectId": where.project, "datasetId": where.name, "tableId": name}
    return {"tableReference": reference} | body | {"labels": {CONFIG: digest}}


def _text(body: object) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TEMPLATES.mkdir(parents=True, exist_ok=True)
    for file, content in templates():
        (TEMPLATES / file).write_text(content, encoding="utf-8")
