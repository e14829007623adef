"""The warehouse: tables, views and rows in BigQuery, made from the declarations that Firestore counts with.

`tables` says which tables there are, `rows` what a message becomes, `expressions` how a declaration reads in
SQL, and `views` which views there are. Pure: nothing here speaks to BigQuery. docs/warehouse.md has the rest.
"""

from shared.warehouse.rows import Message, Row, encoded, row_of
from shared.warehouse.tables import BOUNDED, DEAD, Table, rows_table, tables
from shared.warehouse.views import Dataset, View, admitted, views

__all__ = [
    "BOUNDED",
    "DEAD",
    "Dataset",
    "Message",
    "Row",
    "Table",
    "View",
    "admitted",
    "encoded",
    "row_of",
    "rows_table",
    "tables",
    "views",
]
