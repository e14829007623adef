"""Swagger UI is deployed as npm gave it, with the licences of all that is in it."""

import gzip
import hashlib

import pytest

from deploy import swagger
from shared.http.documentation import TYPES


@pytest.mark.parametrize("name", swagger.SERVED)
def test_what_is_served_is_what_was_fetched(name: str) -> None:
    """Byte by byte: nobody has edited a file of somebody else's."""
    content = gzip.decompress((swagger.FOLDER / f"{name}.gz").read_bytes())
    assert hashlib.sha256(content).hexdigest() == swagger.SERVED[name]


def test_nothing_is_kept_that_is_not_served_or_a_licence() -> None:
    """The folder is in git and in the artefact."""
    assert {file.name for file in swagger.FOLDER.iterdir()} == set(swagger.FILES)
    assert TYPES.keys() == swagger.SERVED.keys()
