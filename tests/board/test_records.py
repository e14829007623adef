"""The page reads documents as the command line does: labels, what is not proven, keys."""

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from deploy.stage import ROOT
from shared.aggregation import Aggregation, FieldKey, Key, document_id
from shared.aggregation.keys import text_of
from shared.watermark import Bucket, parse_label

CALL = """
const [script, cases] = process.argv.slice(1);
import(script).then((records) => {
  const answers = JSON.parse(cases).map(([name, ...given]) => {
    if (name === "pendingOf") given[2] = given[2] === null ? null : new Date(given[2]);
    return records[name](...given);
  });
  console.log(JSON.stringify(answers));
});
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`records.ts` as a module that Node runs."""
    script = tmp_path_factory.mktemp("records") / "records.mjs"
    esbuild = ROOT / "node_modules" / ".bin" / "esbuild"
    source = ROOT / "board" / "src" / "records.ts"
    subprocess.run([esbuild, source, "--format=esm", f"--outfile={script}", "--log-level=error"], check=True)
    return script


def ask(records: Path, cases: list[list[Any]]) -> list[Any]:
    """What the page's functions answer."""
    words = ["node", "--eval", CALL, records.as_uri(), json.dumps(cases)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    return list(json.loads(done.stdout))


def expected_bucket(label: str) -> dict[str, Any] | None:
    """The same by the project's own parser."""
    try:
        bucket, column = parse_label(label)
    except (ValueError, OverflowError):
        return None
    return {"end": int(bucket.end.timestamp()) * 1000, "column": column}


FEW = settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate))
"""Each example is a list, and a start of Node; so none is shrunk."""
ENDS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - aware
LABELS = st.builds(
    lambda end, length, column: Bucket(end.replace(microsecond=0), timedelta(seconds=length)).label(column),
    ENDS,
    st.integers(1, 86_400),
    st.sampled_from(["count", "amount", "_x1"]),
)
NEARLY = st.builds(
    "t{:04}{:02}{:02}T{:02}{:02}{:02}Z_{}{}".format,
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.integers(0, 9_999_999),
    st.sampled_from(["", "_amount", "_", "_1", "_é"]),
)
"""What looks like a label; most of them name no time that exists."""
NO_LABELS = st.one_of(
    NEARLY, st.text(max_size=30), st.sampled_from(["", "t", "t٢0250904T191000Z_600", "t00000904T191000Z_600"])
)


@FEW
@given(st.lists(st.one_of(LABELS, NO_LABELS), min_size=30, max_size=60))
def test_a_label_is_read_as_the_command_line_reads_it(records: Path, labels: list[str]) -> None:
    """Every label, and everything that is none."""
    answers = ask(records, [["bucketOf", label] for label in labels])
    assert answers == [expected_bucket(label) for label in labels]


def pending(recent: Mapping[str, object], column: str, proven: datetime | None) -> int:
    """What is filed for a column after the watermark."""
    filed = 0
    for label, amount in recent.items():
        bucket = expected_bucket(label)
        later = bucket and (proven is None or bucket["end"] > proven.timestamp() * 1000)
        if bucket and later and bucket["column"] == column and isinstance(amount, int):
            filed += amount
    return filed


@FEW
@given(
    st.lists(st.dictionaries(LABELS, st.integers(-99, 999), max_size=9), min_size=20, max_size=30), st.data()
)
def test_what_is_not_proven_is_what_is_filed_after_the_watermark(
    records: Path, recents: list[dict[str, int]], data: st.DataObject
) -> None:
    """A bucket that ends at the watermark is proven; before the first run, none is."""
    cases = []
    for recent in recents:
        ends = [bucket.end for bucket, _ in map(parse_label, recent)]
        proven = data.draw(st.one_of(st.none(), st.sampled_from(ends) if ends else st.none()))
        cases.append((recent, data.draw(st.sampled_from(["count", "amount"])), proven))
    asked = [["pendingOf", recent, column, at and at.timestamp() * 1000] for recent, column, at in cases]
    assert ask(records, asked) == [pending(*case) for case in cases]


TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["", "..", "a|b", "%2F", "/", "__x__", "x" * 1_400, "🥑"])
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


@FEW
@given(
    st.lists(st.one_of(TEXTS, INTEGERS, st.booleans(), st.tuples(TEXTS, INTEGERS)), min_size=20, max_size=40)
)
def test_a_key_reads_as_it_is(records: Path, keys: list[Key]) -> None:
    """Whatever the id looks like: odd strings, integers of 64 bits, booleans, composite keys."""
    both = Aggregation("both", (FieldKey("a"), FieldKey("b", kind=int)))
    cases, wanted = [], []
    for key in keys:
        if isinstance(key, str):
            try:
                key.encode()
            except UnicodeEncodeError:
                continue
        parts = key if isinstance(key, tuple) else (key,)
        stored = both.stored_key(key) if isinstance(key, tuple) else key
        cases.append(["keyOf", document_id(key), stored])
        wanted.append(" · ".join(map(text_of, parts)))
    assert ask(records, cases) == wanted
