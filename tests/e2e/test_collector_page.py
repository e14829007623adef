"""docs/collector.md shows what works: its snippets run, and its tables are complete."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import httpx
import pytest

from local.collecting import Collector
from local.stack import ROOT, LocalStack
from services.collector.doors import Became

PAGE = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")


def snippet(language: str) -> str:
    """The tested snippet in a language."""
    (found,) = re.findall(rf"<!-- tested: {language} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector beside a local stack, as `libra up` starts it."""
    with LocalStack(project="demo-collector-page") as stack, Collector(stack) as running:
        yield running


def run(collector: Collector, *command: str) -> str:
    """What a command prints that a reader of the page runs."""
    environment = os.environ | collector.exports
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_answers_what_the_page_says(collector: Collector) -> None:
    """Byte by byte."""
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert run(collector, "bash", "-c", snippet("curl")) == shown.strip()


def test_the_python_snippet_prints_each_verdict(collector: Collector) -> None:
    """Three go through, and the last one says what it lacks."""
    lines = run(collector, sys.executable, "-c", snippet("python")).splitlines()
    assert [line.split()[:2] for line in lines] == [
        *(["order-" + str(number), "counted"] for number in range(3)),
        ["order-3", "invalid"],
    ]
    assert "'field': 'event_type'" in lines[3]


def test_every_outcome_and_status_is_on_the_page(collector: Collector) -> None:
    """One that is missing would be one that nobody knows what to do about."""
    told = set(re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE))
    assert set(get_args(Became)) <= told
    schema = httpx.get(f"http://{collector.served.address}/openapi.json", timeout=30).json()
    statuses = set(schema["paths"]["/v1/events/{source}"]["post"]["responses"])
    rows = " ".join(re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE))
    assert statuses - set(re.findall(r"\d{3}", rows)) == {"405", "414", "500"}
