"""The worked examples of docs/aggregations.md: what the page declares counts as the page says."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import shared.aggregation as ours
from shared.aggregation import Source, contribution
from shared.catalog import LIBRA_HOME

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "aggregations.md").read_text(encoding="utf-8")
ENTRY = {
    "location": "Caldo Office",
    "ingredient": "Beans",
    "dataAction": "Served",
    "amount": 12.5,
    "floor": 3,
    "is_new": True,
    "timestamp": datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC),
}


def section() -> str:
    """The section of worked examples."""
    _, _, rest = PAGE.partition("### A worked example of each\n")
    return rest.partition("\n### ")[0]


def declared() -> Source:
    """What its code block declares."""
    (block,) = re.findall(r"```python\n(.*?)```", section(), re.DOTALL)
    names = vars(ours) | {"zone": ZoneInfo("UTC")}
    declared = block.removeprefix("aggregations = ")
    return Source("libra", eval(declared, names))  # noqa: S307 - the page is ours


def told() -> dict[str, tuple[object, dict[str, int]]]:
    """What its table says: the key and the fields of each total, by path."""
    rows = re.findall(r"^\| `(\S.*?/.*?)` \| (.*?) \| (.*?) \|$", section(), re.MULTILINE)
    found: dict[str, tuple[object, dict[str, int]]] = {}
    for path, key, fields in rows:
        numbers: list[Any] = [field.split() for field in fields.split(", ")]
        found[path.replace("\\|", "|")] = ast.literal_eval(key), {name: int(n) for name, n in numbers}
    return found


def test_the_page_says_what_its_declarations_count() -> None:
    """Each total, with its key and its columns; and the one that does not count the entry is not there."""
    source = declared()
    found = contribution(source, ENTRY)
    assert found.rejections == ()
    stored = {
        LIBRA_HOME.total(cell): (source.aggregation(cell.aggregation).stored_key(cell.key), added)
        for cell, added in found.deltas.items()
    }
    assert stored == told()
    assert {each.name for each in source.aggregations} - {path.split("/")[0] for path in stored} == {"small"}


def test_every_kind_of_part_has_its_example() -> None:
    """A kind that the tables name and the example does not use is a gap."""
    tables, _, _ = PAGE.partition("### A worked example of each")
    (block,) = re.findall(r"```python\n(.*?)```", section(), re.DOTALL)
    kinds = set(re.findall(r"`([A-Z]\w+)\(", tables[tables.index("## What a declaration can say") :]))
    grains = set(re.findall(r"`(\w+)` \(", tables))
    assert len(kinds) > 10
    assert {kind for kind in kinds if f"{kind}(" not in block} <= {"Minimum", "Maximum"}
    assert {grain for grain in grains if f'"{grain}"' not in block} == {"date"}
