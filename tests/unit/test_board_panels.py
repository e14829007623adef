"""The board shows what is counted: panels.json, the catalog and the security rules agree."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.aggregation import Aggregation, TimeKey
from shared.catalog import LIBRA_HOME, libra
from shared.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
DECLARED = json.loads((ROOT / "board" / "panels.json").read_text(encoding="utf-8"))["panels"]
PANELS: dict[str, Any] = {panel["collection"]: panel for panel in DECLARED}
COUNTED = libra(Settings()).aggregations
PLOTTED = {"hour": "hour", "date": "date"}
"""The grains that the board can draw, and as what."""


def test_every_aggregation_has_a_panel_and_every_panel_an_aggregation() -> None:
    """Declaring a total shows it; removing one takes its panel away."""
    assert set(PANELS) == {LIBRA_HOME.collection(each.name) for each in COUNTED}


@pytest.mark.parametrize("aggregation", COUNTED, ids=lambda each: each.name)
def test_a_panel_fits_its_aggregation(aggregation: Aggregation) -> None:
    """It shows a column that is counted, draws hours and dates as such, and the rules let it read."""
    panel = PANELS[LIBRA_HOME.collection(aggregation.name)]
    assert panel["column"] in aggregation.columns
    grain = aggregation.key.grain if isinstance(aggregation.key, TimeKey) else None
    assert panel.get("plot") == PLOTTED.get(str(grain))
    assert panel["order"] == ("key" if grain else "column")
    rules = (ROOT / "firestore.rules").read_text(encoding="utf-8")
    assert re.search(rf"match /{panel['collection']}/{{key}} {{\s+allow read: if signedIn\(\);", rules)
