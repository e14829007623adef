"""Usage metering in the local stack: PostgreSQL, Valkey, and a process that flushes every few seconds."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from local.databases import PostgresServer, ValkeyServer
from local.process import Child
from local.served import START_SECONDS
from local.stack import LocalStack

REDIS, POSTGRES = "LIBRA_REDIS_URL", "LIBRA_POSTGRES_URL"
EVERY_SECONDS = "5"
FLUSHED = '"message": "Usage flush completed"'


class Usage:
    """Both servers, and flushes. A context manager: up inside, gone after.

    Attributes:
        postgres: where the books are kept.
        valkey: where applications count.
        environment: what the flush is given, with both addresses.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str] = os.environ, *, flushes: int = 1
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: where logs go.
            environment: the variables that processes are given.
            flushes: how many processes flush.

        Raises:
            StackError: PostgreSQL or Valkey is not installed.
        """
        self.postgres = PostgresServer(folder)
        self.valkey = ValkeyServer(folder)
        self._folder = folder
        self._wanted = flushes
        self._started = 0
        self._stop = ExitStack()
        self._flushes: list[Child] = []
        self.environment = {"LIBRA_USAGE_EVERY_SECONDS": EVERY_SECONDS} | dict(environment) | self.exports

    @classmethod
    def of(cls, stack: LocalStack) -> Self:
        """For the stack that is up; raises StackError."""
        return cls(stack.folder, stack.environment)

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        return {
            "Valkey": f"{self.valkey.url}   applications count here",
            "PostgreSQL": f"{self.postgres.url()}   flushed every {EVERY_SECONDS} seconds",
        }

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        return {REDIS: self.valkey.url, POSTGRES: self.postgres.url()}

    def __enter__(self) -> Self:
        """Start both, and flush; raises StackError."""
        with ExitStack() as started:
            started.enter_context(self.postgres)
            started.enter_context(self.valkey)
            started.callback(self._end)
            for launched in [self._launch_flush() for _ in range(self._wanted)]:
                self._wait_for_run(*launched)
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the flushes, then the servers. What is in them is gone."""
        self._stop.close()

    def _launch_flush(self) -> tuple[Child, Path]:
        self._started += 1
        log = self._folder / f"usage-{self._started}.txt"
        command = [sys.executable, "-m", "services.usage", "schedule"]
        child = Child("a usage flush", command, log, self.environment)
        self._flushes.append(child)
        return child, log

    def _wait_for_run(self, child: Child, log: Path) -> None:
        child.wait_healthy(lambda: FLUSHED in log.read_text("utf-8"), seconds=START_SECONDS)

    def kill_flush(self) -> None:
        """End one as a crash would, and start another in its place; raises StackError."""
        self._flushes.pop(0).kill()
        self._wait_for_run(*self._launch_flush())

    def ended(self) -> str | None:
        """What to say if a process ended by itself."""
        children = (each.ended for each in self._flushes)
        return next(filter(None, (self.postgres.ended, self.valkey.ended, *children)), None)

    def _end(self) -> None:
        while self._flushes:
            self._flushes.pop().stop()
