"""What is in BigQuery: queries to the emulator, and the totals that the views of a warehouse show."""

from collections.abc import Mapping
from typing import Any

import httpx

from deploy.warehouse import ensure
from local.bigquery import BigQuery
from shared.aggregation import Source
from shared.events import EventSource
from shared.warehouse import Row, encoded
from shared.warehouse.views import key_columns

Told = dict[tuple[str, ...], dict[str, int]]
"""Totals by their aggregation and the parts of their key, as text."""


class Asked:
    """The dataset `libra` of a project."""

    def __init__(self, bigquery: BigQuery, project: str) -> None:
        self._url = f"{bigquery.url}/bigquery/v2/projects/{project}"
        self._host = bigquery.url
        self._project = project

    def ensure(self, zone: str, sources: Mapping[str, EventSource]) -> None:
        """Make the dataset with its tables and views."""
        values = {
            "GOOGLE_CLOUD_PROJECT": self._project,
            "LIBRA_WAREHOUSE_DATASET": "libra",
            "LIBRA_REGION": "europe-west6",
            "LIBRA_TIME_ZONE": zone,
        }
        there = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": self._host, "LIBRA_TOKEN": "none"}
        ensure(there, values, sources)

    def insert(self, rows: list[Row]) -> None:
        """Write rows to their tables."""
        for table in {row.table: None for row in rows}:
            own = [{"json": encoded(row)} for row in rows if row.table == table]
            for first in range(0, len(own), 500):
                body = {"rows": own[first : first + 500]}
                url = f"{self._url}/datasets/libra/tables/{table}/insertAll"
                answer = httpx.post(url, json=body, timeout=60).raise_for_status().json()
                assert not answer.get("insertErrors"), answer

    def run(self, query: str) -> dict[str, Any]:
        """What BigQuery answers; `TABLE` in front of a name stands for the dataset."""
        body = {"query": query.replace("TABLE.", f"{self._project}.libra."), "useLegacySql": False}
        found = httpx.post(f"{self._url}/queries", json=body, timeout=60).json()
        assert "error" not in found, found
        return dict(found)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        found = self.run(query)
        names = [field["name"] for field in found["schema"]["fields"]]
        return [
            dict(zip(names, (cell["v"] for cell in row["f"]), strict=True)) for row in found.get("rows", ())
        ]

    def number(self, table: str) -> int:
        """How many rows a table or a view has."""
        return int(self.rows(f"SELECT COUNT(*) AS n FROM `TABLE.{table}`")[0]["n"])

    def totals(self, source: Source) -> Told:
        """What the views of a source say."""
        found: Told = {}
        for each in source.aggregations:
            columns = [*each.columns, *(it.name for it in each.extremes)]
            for row in self.rows(f"SELECT * FROM `TABLE.{each.name}`"):
                key = tuple(str(row[column]) for column in key_columns(each))
                assert (each.name, *key) not in found
                found[each.name, *key] = {it: int(row[it]) for it in columns if row[it] is not None}
        return found
