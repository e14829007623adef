"""docs/api.md shows what works: its snippets run against the local stack, and its table has every route."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.served import unsigned_token
from local.stack import ROOT, LocalStack
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def snippet(language: str) -> str:
    """The tested snippet in a language."""
    (found,) = re.findall(rf"<!-- tested: {language} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack with the API and two counted entries, whose keys are odd."""
    with LocalStack(project="demo-api-page", recompute=True, api=True) as running:
        store = FirestoreStore.connect(running.settings)
        kitchen = Kitchen(store, running.settings)
        for number, ingredient in enumerate(("Mac/Cheese", "..", "Mac/Cheese")):
            kitchen.write(f"e{number}", ingredient=ingredient)
        running.wait_until_quiet(received=3)
        yield running
        store.close()


def run(stack: LocalStack, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader of the page would."""
    told = {
        "LIBRA_API_URL": f"http://{stack.api.address}",
        "LIBRA_TOKEN": unsigned_token(stack.project, "operator"),
    }
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | told, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_commands_answer_what_they_are_for(stack: LocalStack) -> None:
    """A page with the largest first, a key with a slash, a key of dots, a started run."""
    lines = snippet("curl").splitlines()
    answers = [run(stack, "bash", "-c", line).stdout for line in lines]
    assert [answer.count('"key":') for answer in answers] == [2, 1, 1, 0]
    assert '"count":2' in answers[0]
    assert '"key":"Mac/Cheese"' in answers[1]
    assert '"key":".."' in answers[2]
    assert '"run_id":' in answers[3]


def test_the_python_snippet_lists_every_total(stack: LocalStack) -> None:
    """As it stands on the page."""
    done = run(stack, sys.executable, "-c", snippet("python"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Mac/Cheese 2 of which not proven yet: 2\n.. 1 of which")


def test_the_client_does_the_same(stack: LocalStack) -> None:
    """With its types."""
    done = run(stack, sys.executable, "-c", snippet("client"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Mac/Cheese 2 2 .*\n\.\. 1 1 .*\n", done.stdout)


def test_the_client_explains_and_starts_a_recompute(stack: LocalStack) -> None:
    """What an operator asks it; a second time at once, the run may still be under way."""
    done = run(stack, sys.executable, "-c", snippet("operator"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"e0 1 \w+\ne2 1 \w+\n(started|under way) \d{8}T\d{6}Z-\w+\n", done.stdout)


def test_the_dart_snippet_asks_what_there_is(stack: LocalStack) -> None:
    """Its address, its query, its header and the fields that it reads are those of the schema."""
    text = snippet("dart")
    schema = httpx.get(f"http://{stack.api.address}/openapi.json").json()
    (path,) = re.findall(r"path: '([^']+)'", text)
    operation = schema["paths"]["/v1/total/{aggregation}"]["get"]
    assert path == "/v1/total/aggregates_categories"
    assert set(re.findall(r"queryParameters: \{'(\w+)': key\}", text)) == {
        it["name"] for it in operation["parameters"] if it["in"] == "query"
    }
    assert re.findall(r"headers: \{'(\w+)': '(\w+) \$token'\}", text) == [("Authorization", "Bearer")]
    (scheme,) = operation["security"]
    assert schema["components"]["securitySchemes"][next(iter(scheme))]["scheme"] == "bearer"
    total, problem = (schema["components"]["schemas"][it]["properties"] for it in ("Total", "ProblemBody"))
    assert set(re.findall(r"Exception\(body\['(\w+)'\]\)", text)) == {"detail"} <= problem.keys()
    read = re.findall(r"\$\{body\['(\w+)'\]\['(\w+)'\]\}", text)
    assert {field for field, _ in read} == {"values", "pending"} <= total.keys()
    headers = {"Authorization": f"Bearer {unsigned_token(stack.project, 'reader')}"}
    for query, count in (("key=Mac%2FCheese", 2), ("key=a+b", 0), ("key", 0)):  # as Dart's Uri writes them
        answer = httpx.get(f"http://{stack.api.address}{path}?{query}", headers=headers).json()
        assert {answer[field][measure] for field, measure in read} == {count}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node to read JavaScript")
def test_the_javascript_snippet_is_javascript(tmp_path: Path) -> None:
    """Its syntax; the modules that it imports are the reader's."""
    file = tmp_path / "snippet.mjs"
    file.write_text(snippet("javascript"), encoding="utf-8")
    done = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_has_every_route(stack: LocalStack) -> None:
    """A route that is not on the page is found by nobody."""
    listed = set(
        re.findall(r"`(GET|POST) (/[^`?]*)`", PAGE.partition("## Routes")[2].partition("**Keys.")[0])
    )
    schema = httpx.get(f"http://{stack.api.address}/openapi.json").json()
    assert listed == {(method.upper(), path) for path, each in schema["paths"].items() for method in each}
