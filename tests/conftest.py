"""Fixtures that several kinds of tests share.

What a server needs is imported with its fixture: of all that, the pipelines' environment has the Firestore
emulator's alone.
"""

import io
import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from local.emulator import QUICK, Emulator
from shared.log import configure, logger

if TYPE_CHECKING:
    from local.bigquery import BigQuery
    from local.databases import PostgresServer, ValkeyServer
    from local.pubsub import PubSub

# How long an example takes is the machine's affair: beside other work a slow one is no failure.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What Libra writes to standard output."""
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    stream = io.StringIO()
    configure("INFO", stream)
    yield stream
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A started Firestore emulator, the one that `FIRESTORE_EMULATOR_HOST` names if it is set.

    Shared by the whole session: a test keeps to its own `project`, and one that stops or restarts
    the emulator starts its own.
    """
    if address := os.environ.get("FIRESTORE_EMULATOR_HOST"):
        yield Emulator.attach(address)
        return
    log = tmp_path_factory.mktemp("emulator") / "emulator.txt"
    with Emulator.prepare(os.environ, log, java=QUICK) as started:
        yield started


@pytest.fixture(scope="session")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator["PubSub"]:
    """A started Pub/Sub emulator, shared by the whole session: a test keeps to its own `project`."""
    from local.pubsub import PubSub

    with PubSub.prepare(os.environ, tmp_path_factory.mktemp("pubsub") / "pubsub.txt", java=QUICK) as started:
        yield started


@pytest.fixture(scope="session")
def bigquery(tmp_path_factory: pytest.TempPathFactory) -> Iterator["BigQuery"]:
    """A started BigQuery emulator, shared by the whole session: a test keeps to its own `project`."""
    from local.bigquery import BigQuery

    with BigQuery.prepare(os.environ, tmp_path_factory.mktemp("bigquery") / "bigquery.txt") as started:
        yield started


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["PostgresServer"]:
    """A started PostgreSQL, shared by the whole session.

    A test makes a database of its own (`tests.support.databases`), and one that stops or kills the server
    starts its own.
    """
    from local.databases import PostgresServer

    with PostgresServer(tmp_path_factory.mktemp("postgres")) as started:
        yield started


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ValkeyServer"]:
    """A started Valkey, shared by the whole session: a test empties it before it begins."""
    from local.databases import ValkeyServer

    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as started:
        yield started


@pytest.fixture
def project() -> str:
    """The id of a project that no other test uses."""
    return f"demo-{uuid.uuid4().hex[:12]}"
