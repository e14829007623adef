"""The whole Firebase suite, from the staged folder, for the tests of this folder."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deploy.stage import ROOT
from local import suite
from local.errors import StackError
from local.process import Child, wait_until

Json = dict[str, Any]

OWNER = {"Authorization": "Bearer owner"}
"""Past the rules, as the functions are."""
QUICK = {"LIBRA_LAG_SECONDS": "1", "LIBRA_BUCKET_SECONDS": "1"}
"""A watermark that trails the clock by a second."""
PATIENCE = 60
"""Seconds until a worker has started and its event is counted."""


@dataclass
class Suite:
    """The running suite.

    Attributes:
        ports: where its emulators listen.
        process: it, with its log.
        generation: how often its triggers were registered anew; their names end with it.
    """

    ports: suite.Ports
    process: Child
    generation: int = 0

    @property
    def documents(self) -> str:
        """The database, over HTTP."""
        address = self.ports.address("firestore")
        return f"http://{address}/v1/projects/{suite.PROJECT}/databases/(default)/documents"

    def get(self, path: str) -> Json:
        """The fields of a document, or of none if it is not there."""
        answer = httpx.get(f"{self.documents}/{path}", headers=OWNER, timeout=30)
        return dict(answer.json().get("fields", {}))

    def count(self, path: str) -> int:
        """A total."""
        return int(self.get(path).get("count", {}).get("integerValue", 0))

    def create(self, collection: str, fields: Json) -> Json:
        """Write a document; the answer says when it was committed."""
        answer = httpx.post(
            f"{self.documents}/{collection}", json={"fields": fields}, headers=OWNER, timeout=30
        )
        return dict(answer.raise_for_status().json())

    def change(self, path: str, field: str, value: Json) -> None:
        """Edit one field of a document."""
        mask, body = {"updateMask.fieldPaths": field}, {"fields": {field: value}}
        httpx.patch(
            f"{self.documents}/{path}", params=mask, json=body, headers=OWNER, timeout=30
        ).raise_for_status()

    def delete(self, path: str) -> None:
        """Delete a document."""
        httpx.delete(f"{self.documents}/{path}", headers=OWNER, timeout=30).raise_for_status()

    def set_count(self, path: str, count: int) -> None:
        """Spoil a total."""
        self.change(path, "count", {"integerValue": str(count)})

    def tick(self) -> Json:
        """Do what the clock would do at two in the night; the recompute's report."""
        url = suite.recompute_url(self.ports, self.generation)
        return dict(httpx.post(url, json={}, timeout=PATIENCE).raise_for_status().json())

    def triggers(self, *, on: bool) -> None:
        """Let events reach the functions, or lose them."""
        what = "enableBackgroundTriggers" if on else "disableBackgroundTriggers"
        httpx.put(f"http://{self.ports.address('hub')}/functions/{what}", timeout=PATIENCE).raise_for_status()
        self.generation += on

    def wait(self, condition: Callable[[], bool], *, what: str) -> None:
        """Wait for a condition; if it does not come, the error shows what the suite said last."""
        try:
            wait_until(condition, seconds=PATIENCE, what=what)
        except StackError as error:
            raise StackError(f"{error}; the suite said last:\n{self.process.tail(40)}") from None

    def wait_for(self, totals: dict[str, int]) -> None:
        """Wait until each total is there."""
        self.wait(lambda: all(self.count(path) == count for path, count in totals.items()), what=f"{totals}")


@pytest.fixture(scope="session")
def firebase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The suite, started with free ports and a watermark that trails the clock by a second."""
    folder = tmp_path_factory.mktemp("suite")
    outside = dict(os.environ) | QUICK
    subprocess.run(["npm", "run", "--silent", "board"], cwd=ROOT, check=True, timeout=60)
    ports, log = suite.Ports.free(), folder / "suite.txt"
    with suite.running(ports, outside, log) as process:
        yield Suite(ports, process)
