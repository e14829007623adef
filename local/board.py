"""`make board`: the board on the whole local suite, while entries arrive; until Ctrl-C.

A restaurant chain writes 20 entries a second, and a recompute runs every minute in place of every night, with
a watermark that trails the clock by ten seconds: so that there is something to see.
"""

import os
import signal
import sys
import time

import httpx

from deploy.stage import ROOT
from local.accounts import PREPARED, prepare
from local.errors import StackError
from local.process import Child
from local.suite import PROJECT, WORK, Ports, recompute_url, running

SOON = {"LIBRA_LAG_SECONDS": "10", "LIBRA_BUCKET_SECONDS": "10"}
ENTRIES = ("--entries=72000", "--rate=20")
RUN_SECONDS = 60
RUN_LIMIT = 50
"""Seconds that a run may take."""
WATCH_SECONDS = 0.5


def main() -> None:
    """Start everything, say where it is, and stop everything at Ctrl-C."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell that starts it with & has SIGINT ignored
        signal.signal(ending, signal.default_int_handler)
    try:
        show()
    except KeyboardInterrupt:
        _say("\nStopped.")
    except StackError as error:
        sys.exit(f"make board: {error}")


def show() -> None:
    """Run the suite with entries arriving, until it ends or is interrupted.

    Raises:
        StackError: something did not start, or ended by itself.
    """
    outside = dict(os.environ) | SOON
    _say("Starting … (about half a minute)")
    WORK.mkdir(parents=True, exist_ok=True)
    ports, log, written = Ports.usual(), WORK / "suite.txt", WORK / "entries.txt"
    log.write_bytes(b"")
    with running(ports, outside, log) as suite:
        prepare(ports.address("auth"), PROJECT)
        where = {"FIRESTORE_EMULATOR_HOST": ports.address("firestore"), "GOOGLE_CLOUD_PROJECT": PROJECT}
        words = [sys.executable, "-m", "cli.main", "generate", *ENTRIES]
        entries = Child("libra generate", words, written, outside | where)
        try:
            _say(_where(ports))
            _watch(ports, suite)
        finally:
            entries.kill()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _where(ports: Ports) -> str:
    people = "\n".join(
        f"    {it.email}  {it.password}  {'sees everything' if it.role else 'sees the totals'}"
        for it in PREPARED
    )
    return f"""
  board      http://{ports.address("hosting")}

  sign in with
{people}

  entries arrive at 20 a second for an hour; a recompute runs every minute
  logs       {WORK.relative_to(ROOT)}

In another terminal, libra works on it:

  export FIRESTORE_EMULATOR_HOST={ports.address("firestore")} GOOGLE_CLOUD_PROJECT={PROJECT}
  export {" ".join(f"{name}={value}" for name, value in SOON.items())}

Ctrl-C stops everything; the documents go with it."""


def _watch(ports: Ports, suite: Child) -> None:
    due = time.monotonic() + RUN_SECONDS
    while True:
        if suite.ended:
            raise StackError(suite.ended)
        if time.monotonic() >= due:
            due = time.monotonic() + RUN_SECONDS
            try:
                httpx.post(recompute_url(ports), json={}, timeout=RUN_LIMIT)
            except httpx.HTTPError as error:
                _say(f"a recompute did not answer: {error!r}")
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    main()
