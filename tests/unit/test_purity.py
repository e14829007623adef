"""Pure modules: no driver, no clock, no environment. The imports and calls are read, with their lines."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PURE = (
    "services/ingestion/files",
    "services/ingestion/ga4",
    "services/ingestion/requests",
    "services/ingestion/rows",
    "shared/aggregation",
    "shared/catalog",
    "shared/counting/billing",
    "shared/counting/cells",
    "shared/counting/cost",
    "shared/counting/result",
    "shared/drift",
    "shared/errors",
    "shared/parts",
    "shared/events",
    "shared/judgement",
    "shared/messages",
    "shared/recompute/loss",
    "shared/recompute/standing",
    "shared/schemas",
    "shared/settings",
    "shared/topics",
    "shared/warehouse",
    "shared/watermark",
    "shared/windows/paging",
    "shared/windows/questions",
)
"""Modules, or packages of which every module is pure."""
PLATFORM = {"google", "grpc", "firebase_admin", "functions_framework", "cloudevents", "starlette", "fastapi"}
DRIVERS = {
    "psycopg",
    "psycopg2",
    "asyncpg",
    "redis",
    "valkey",
    "asyncssh",
    "sqlite3",
    "socket",
    "aiohttp",
    "httpx",
}
CLOCK = {"time", "asyncio", "threading"}
READINGS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.environ", "os.getenv"}
ENVIRONMENT = {"environ", "environb", "getenv"}


def impurities(source: str) -> Iterator[tuple[int, str]]:
    """Each line that breaks the rule, and what stands there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if _forbidden(alias.name))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if _forbidden(node.module or ""):
                yield node.lineno, node.module or ""
            elif node.module == "os":
                yield from ((node.lineno, f"os.{it.name}") for it in node.names if it.name in ENVIRONMENT)
        elif isinstance(node, ast.Attribute):
            dotted = ".".join(ast.unparse(node).split(".")[-2:])
            if dotted in READINGS:
                yield node.lineno, dotted


def _forbidden(module: str) -> bool:
    return module.partition(".")[0] in PLATFORM | DRIVERS | CLOCK


def files() -> list[Path]:
    """The pure modules; a package brings all of its modules."""
    found: list[Path] = []
    for name in PURE:
        package = sorted((ROOT / name).glob("**/*.py"))
        found += package or [ROOT / f"{name}.py"]
    return found


@pytest.mark.parametrize("file", files(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_pure_module_reads_nothing_from_outside(file: Path) -> None:
    """The same arguments always give the same result, so the laws can be tested without a platform."""
    name = file.relative_to(ROOT)
    broken = [f"{name}:{line} {what}" for line, what in impurities(file.read_text(encoding="utf-8"))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("\nimport google.cloud.firestore", "google.cloud.firestore"),
        ("\nfrom google.api_core import retry", "google.api_core"),
        ("\nimport grpc", "grpc"),
        ("\nimport firebase_admin", "firebase_admin"),
        ("\nimport functions_framework", "functions_framework"),
        ("\nfrom cloudevents.http import CloudEvent", "cloudevents.http"),
        ("\nimport json, psycopg", "psycopg"),
        ("\nfrom redis.asyncio import Redis", "redis.asyncio"),
        ("def late():\n    import time", "time"),
        ("\nfrom time import monotonic as now", "time"),
        ("import datetime\nprint(datetime.datetime.now())", "datetime.now"),
        ("from datetime import datetime\ndatetime.utcnow()", "datetime.utcnow"),
        ("from datetime import date\nread = date.today", "date.today"),
        ("import os\nos.environ['A']", "os.environ"),
        ("import os\nos.getenv('A')", "os.getenv"),
        ("\nfrom os import environ", "os.environ"),
    ],
)
def test_each_impurity_is_found_with_its_line(source: str, what: str) -> None:
    """The proof that the check can fail."""
    assert list(impurities(source)) == [(2, what)]


@pytest.mark.parametrize(
    "source", ["from datetime import datetime, UTC", "import os.path", "from .time import x"]
)
def test_what_reads_nothing_is_allowed(source: str) -> None:
    """Types of time and our own modules are no clock."""
    assert list(impurities(source)) == []
