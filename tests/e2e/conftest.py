"""Fixtures of the tests that run the local stack."""

from collections.abc import Iterator

import pytest

from local.stack import LocalStack
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen


@pytest.fixture(params=["600", "0"], ids=["fresh", "late"])
def stack(request: pytest.FixtureRequest, project: str) -> Iterator[LocalStack]:
    """A local stack of the test's own, once with the usual lag and once with none."""
    with LocalStack(project=project, settings={"LIBRA_LAG_SECONDS": request.param}) as running:
        yield running


@pytest.fixture
def kitchen(stack: LocalStack) -> Iterator[Kitchen]:
    """The kitchen whose entries the stack counts."""
    store = FirestoreStore.connect(stack.settings)
    yield Kitchen(store, stack.settings)
    store.close()
